"""What search shows of open slots, written straight as JSON: byte for byte what pydantic makes of the schemas. Pure.

A page that is not in the cache has dozens of them, and what making and dumping as many models costs is more than what
the database is asked.
"""

from collections.abc import Iterable
from json.encoder import encode_basestring
from uuid import UUID

from telemed.booking.slots.openings import Opening
from telemed.booking.slots.pages import Candidate, opening_name
from telemed.kernel.text import rfc3339


def candidates(found: Iterable[Opening]) -> tuple[Candidate, ...]:
    """Make a page's candidates of what was found; a doctor's card is written once for all of their slots."""
    cards: dict[UUID, str] = {}
    made = []
    for opening in found:
        card = cards.get(opening.doctor_id)
        if card is None:
            card = cards[opening.doctor_id] = _doctor_card(opening)
        name = opening_name(opening.id, opening.version)
        made.append(Candidate(name, opening.starts_at, _found_slot(opening, card)))
    return tuple(made)


def _found_slot(opening: Opening, doctor_card: str) -> str:
    """Write a `FoundSlot`."""
    return (
        f'{{"id":"{opening.id}","starts_at":"{rfc3339(opening.starts_at)}","ends_at":"{rfc3339(opening.ends_at)}",'
        f'"doctor":{doctor_card}}}'
    )


def _doctor_card(opening: Opening) -> str:
    """Write a `DoctorCard`."""
    return (
        f'{{"id":"{opening.doctor_id}","full_name":{encode_basestring(opening.full_name)},'
        f'"specialization":{encode_basestring(opening.specialization)},'
        f'"languages":[{",".join(map(encode_basestring, opening.languages))}],'
        f'"fee":{{"amount_minor":{opening.fee_minor},"currency":{encode_basestring(opening.fee_currency)}}}}}'
    )
