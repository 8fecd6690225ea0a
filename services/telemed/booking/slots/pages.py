"""Pages of open slots: what is left of them, and what they look like. Pure."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from telemed.kernel.paging import Cursor

State = tuple[bytes, bytes]  # a scope's generation and its state word, as Redis has them


@dataclass(frozen=True, slots=True)
class Candidate:
    """An open slot as it was loaded: what is needed to leave it out, to continue after it, and to show it."""

    opening: str
    starts_at: datetime
    json: str

    @property
    def slot_id(self) -> UUID:
        """The slot."""
        return UUID(self.opening.partition("/")[0])


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

    *has_more* says that the source has some beyond the last; *reached* is that one, once something was left out.
    """

    candidates: tuple[Candidate, ...]
    has_more: bool
    limit: int
    standing: Standing | None = None  # of a page that is as fetched from the shelf
    reached: Candidate | None = None

    def without(self, gone: Collection[str], *, now: datetime) -> "SlotPage":
        """Leave out what is gone and what has begun."""
        kept = tuple(c for c in self.candidates if c.opening not in gone and c.starts_at > now)
        if len(kept) == len(self.candidates):
            return self
        return replace(self, candidates=kept, reached=self.reached or self.candidates[-1])

    @property
    def is_dry(self) -> bool:
        """Tell whether so little is left that the source should be asked for more."""
        return self.has_more and len(self.candidates) < self.limit

    def render(self) -> bytes:
        """Give what is shown as JSON, with the cursor to those after it."""
        shown = self.candidates[: self.limit]
        # Of a page that was booked while it was loaded, or cannot be loaded anew, nothing may be left. That there is no
        # more, its client would read from a missing cursor, and go without the slots beyond it.
        last = shown[-1] if shown else self.reached
        cursor = "null"
        if last is not None and (self.has_more or len(self.candidates) > self.limit):
            cursor = f'"{Cursor(last.starts_at, last.slot_id).encode()}"'
        items = ",".join(candidate.json for candidate in shown)
        return f'{{"items":[{items}],"next_cursor":{cursor}}}'.encode()
