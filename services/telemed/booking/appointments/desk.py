"""Where bookings look at slots, and where they are written."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from telemed.booking.appointments.queries import Sight, Wish, look_at_slots
from telemed.kernel.database import Database
from telemed.kernel.direct import Direct
from telemed.kernel.gathering import Gathering

P = ParamSpec("P")
T = TypeVar("T")


class Desk(Protocol):
    """What a booking needs of the database."""

    async def look(self, wish: Wish) -> Sight:
        """Look at a slot, without a lock."""
        ...

    async def transact(
        self, operation: Callable[Concatenate[Direct, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run an operation as one transaction."""
        ...


class OpenDesk:
    """The desk of one process: many come at the same time, and their looks are one look.

    In a race for a slot, most leave after it; they cost no connection and no round trip of their own.
    """

    def __init__(self, db: Database) -> None:
        async def look(wishes: Sequence[Wish]) -> list[Sight]:
            return await db.transact_directly(look_at_slots, wishes)

        self.look = Gathering(look).ask
        self.transact = db.transact_directly


class DeskInside:
    """A desk inside of a transaction that somebody else has begun and will end."""

    def __init__(self, direct: Direct) -> None:
        self._direct = direct

    async def look(self, wish: Wish) -> Sight:
        """Look at a slot, without a lock."""
        (sight,) = await look_at_slots(self._direct, [wish])
        return sight

    async def transact(
        self, operation: Callable[Concatenate[Direct, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run an operation as part of the transaction."""
        return await operation(self._direct, *args, **kwargs)
