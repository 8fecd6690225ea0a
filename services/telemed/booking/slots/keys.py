"""Where search keeps what it keeps in Redis: scopes, the names of their pages and notes, and windows of time. Pure.

The braces in a name keep what belongs to a scope on one node of a Redis cluster.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

from telemed.booking.slots.schemas import SearchSlots
from telemed.kernel.text import lowered

_SCHEMA = 5  # of the stored pages; raise it when their form changes
# Longer than a page lives (240 s by default) plus the time to load one, so that no page outlives a note about it.
GONE_WINDOW = timedelta(seconds=300)


def scope_of(query: SearchSlots) -> str:
    """Give the narrowest scope that a query's slots lie in."""
    if query.doctor_id is not None:
        return f"doctor:{query.doctor_id.hex}"
    return _specialization_scope(query.specialization) if query.specialization is not None else "all"


def _specialization_scope(specialization: str) -> str:
    # Hashed: it is what somebody typed, and keys are no place for that.
    return "spec:" + hashlib.sha256(lowered(specialization).encode()).hexdigest()[:16]


def scopes_of_slots(doctor_id: UUID, *specializations: str) -> list[str]:
    """Give every scope in which a doctor's slots lie; with several specializations, those of before and after."""
    return ["all", f"doctor:{doctor_id.hex}", *{_specialization_scope(name) for name in specializations}]


def page_key(query: SearchSlots) -> str:
    """Give the key of a query's page."""
    digest = hashlib.sha256(query.model_dump_json().encode()).hexdigest()[:32]
    return f"telemed:search:{{{scope_of(query)}}}:page:{_SCHEMA}:{digest}"


def state_keys(scope: str) -> tuple[str, str]:
    """Give the keys of a scope's generation and of its state word."""
    return generation_key(scope), state_key(scope)


def scope_in(key: str) -> str:
    """Give the scope that a key belongs to."""
    return key[key.index("{") + 1 : key.index("}")]


def generation_key(scope: str) -> str:
    """Give the key of a scope's generation."""
    return f"telemed:search:{{{scope}}}:generation"


def state_key(scope: str) -> str:
    """Give the key of a scope's state word."""
    return f"telemed:search:{{{scope}}}:state"


def gone_key(scope: str, window: int) -> str:
    """Give the key of the notes of what is gone, of one window of time."""
    return f"telemed:search:{{{scope}}}:gone:{window}"


def window_ends_at(window: int) -> datetime:
    """Say when the next window of gone notes begins."""
    return datetime.fromtimestamp((window + 1) * GONE_WINDOW.total_seconds(), UTC)


def window_of(at: datetime) -> int:
    """Give the number of the window of notes that an instant lies in."""
    return int(at.timestamp() // GONE_WINDOW.total_seconds())
