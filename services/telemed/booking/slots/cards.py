"""What search shows of open slots, written straight as JSON: byte for byte what pydantic makes of the schemas. Pure.

A page that is not in the cache has dozens of them, and what making and dumping as many models costs is more than what
the database is asked.
"""

from collections.abc import Iterable
from functools import lru_cache
from json.encoder import encode_basestring
from uuid import UUID

from telemed.booking.slots.openings import Opening
from telemed.booking.slots.pages import Candidate, opening_name
from telemed.kernel.text import rfc3339

# Of the doctors found last: some 700 bytes each.
_CARDS_KEPT = 4096


def candidates(found: Iterable[Opening]) -> tuple[Candidate, ...]:
    """Make a page's candidates of what was found; a doctor's card is written once for all of their slots."""
    cards: dict[UUID, str] = {}
    made = []
    for opening in found:
        card = cards.get(opening.doctor_id)
        if card is None:
            languages = tuple(opening.languages)
            card = cards[opening.doctor_id] = _doctor_card(
                *(opening.doctor_id, opening.full_name, opening.specialization, languages),
                *(opening.fee_minor, opening.fee_currency),
            )
        name = opening_name(opening.id, opening.version)
        made.append(Candidate(name, opening.starts_at, _found_slot(opening, card)))
    return tuple(made)


def _found_slot(opening: Opening, doctor_card: str) -> str:
    """Write a `FoundSlot`."""
    return (
        f'{{"id":"{opening.id}","starts_at":"{rfc3339(opening.starts_at)}","ends_at":"{rfc3339(opening.ends_at)}",'
        f'"doctor":{doctor_card}}}'
    )


@lru_cache(maxsize=_CARDS_KEPT)
def _doctor_card(
    doctor_id: UUID, full_name: str, specialization: str, languages: tuple[str, ...], fee_minor: int, fee_currency: str
) -> str:
    """Write a `DoctorCard`."""
    return (
        f'{{"id":"{doctor_id}","full_name":{encode_basestring(full_name)},'
        f'"specialization":{encode_basestring(specialization)},'
        f'"languages":[{",".join(map(encode_basestring, languages))}],'
        f'"fee":{{"amount_minor":{fee_minor},"currency":{encode_basestring(fee_currency)}}}}}'
    )
