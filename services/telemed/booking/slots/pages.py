"""Pages of open slots: what is left of them, and what they look like. Pure."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from telemed.booking.slots.cards import starts_at
from telemed.kernel.paging import Cursor

State = tuple[bytes, bytes]  # a scope's generation and its state word, as Redis has them


def opening_name(slot_id: UUID, version: int) -> str:
    """Name one opening of a slot: one that is cancelled and opens again has a new version."""
    return f"{slot_id.hex}/{version}"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a page that came from the shelf was judged by: while this is so, it need not be judged again."""

    state: State  # of its scope, read before the notes were
    window: int  # of the gone notes
    loaded_at: datetime


@dataclass(frozen=True, slots=True)
class SlotPage:
    """Open slots in the order of time, of which *limit* are shown: the others take the places of those that go.

    Of each, the name of its opening (`opening_name`) and what is shown of it (`cards.py`), in two rows: to take a page
    apart slot by slot costs more than everything else that is done to it, and most pages need it never.
    *has_more* says that the source has some beyond the last; *reached* is that one, once something was left out.
    """

    openings: tuple[str, ...]
    cards: tuple[str, ...]
    has_more: bool
    limit: int
    standing: Standing | None = None  # of a page that is as fetched from the shelf
    reached: Cursor | None = None

    def __len__(self) -> int:
        return len(self.openings)

    @property
    def begins_at(self) -> datetime:
        """When its first slot begins.

        Raises:
            IndexError: it has none.
        """
        return starts_at(self.cards[0])

    def without(self, gone: AbstractSet[str], *, now: datetime) -> "SlotPage":
        """Leave out what is gone and what has begun."""
        begun = next((place for place, card in enumerate(self.cards) if starts_at(card) > now), len(self))
        if not begun and gone.isdisjoint(self.openings):
            return self
        slots = zip(self.openings[begun:], self.cards[begun:], strict=True)
        kept = [(opening, card) for opening, card in slots if opening not in gone]
        openings, cards = zip(*kept, strict=True) if kept else ((), ())
        return replace(self, openings=openings, cards=cards, reached=self.reached or self._place(-1))

    @property
    def is_dry(self) -> bool:
        """Tell whether so little is left that the source should be asked for more."""
        return self.has_more and len(self) < self.limit

    def render(self) -> bytes:
        """Give what is shown as JSON, with the cursor to those after it."""
        shown = self.cards[: self.limit]
        # Of a page that was booked while it was loaded, or cannot be loaded anew, nothing may be left. That there is no
        # more, its client would read from a missing cursor, and go without the slots beyond it.
        last = self._place(len(shown) - 1) if shown else self.reached
        leads_on = self.has_more or len(self) > self.limit
        cursor = f'"{last.encode()}"' if last is not None and leads_on else "null"
        return f'{{"items":[{",".join(shown)}],"next_cursor":{cursor}}}'.encode()

    def _place(self, slot: int) -> Cursor:
        return Cursor(starts_at(self.cards[slot]), UUID(self.openings[slot].partition("/")[0]))
