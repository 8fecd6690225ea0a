"""Cursor pages: ``items`` and ``next_cursor``, ordered by an instant and an id."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from telemed.kernel.problems import FieldError, InvalidRequest
from telemed.kernel.text import Instant, rfc3339

Item = TypeVar("Item")
Row = TypeVar("Row")
MAX_LIMIT = 100
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many items at most.")]
CursorText = Annotated[
    str,
    Query(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_-]+$", description="`next_cursor` of the page before."),
]


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item] = Field(description="The page's items, in order.")
    next_cursor: str | None = Field(description="Give it as `cursor` to get the next page; null on the last one.")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place right after one item of a list that is ordered by instant and id."""

    at: datetime
    id: UUID

    def encode(self) -> str:
        """Render the opaque text that clients send back."""
        place = f'["{rfc3339(self.at)}","{self.id.hex}"]'
        return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, cursor: str | None) -> "Cursor | None":
        """Read back what `encode` made.

        Raises:
            InvalidRequest: it is not one of ours.
        """
        if cursor is None:
            return None
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            at, item_id = _PLACE.validate_python(json.loads(raw))
        except (binascii.Error, ValueError, RecursionError, ValidationError) as error:
            wrong = FieldError(loc=["query", "cursor"], msg="Not a cursor of this list.", type="cursor")
            raise InvalidRequest("The cursor is not one that a page of this list gave.", errors=[wrong]) from error
        return cls(at, item_id)


_PLACE: TypeAdapter[tuple[datetime, UUID]] = TypeAdapter(tuple[Instant, UUID])


def page_of(
    rows: Sequence[Row], limit: int, *, item: Callable[[Row], Item], place: Callable[[Row], Cursor]
) -> "Page[Item]":
    """Make a page of at most *limit* items from rows of which one more was asked for than fits."""
    shown = rows[:limit]
    next_cursor = place(shown[-1]).encode() if len(rows) > limit else None
    return Page(items=[item(row) for row in shown], next_cursor=next_cursor)
