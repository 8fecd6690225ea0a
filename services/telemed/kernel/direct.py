"""Statements past SQLAlchemy, on a connection of the same pool: for what is asked so often that a session costs more.

Begins and ends nothing by itself; `Database` does. Works through PgBouncer in transaction mode as it
is: with asyncpg's cache off, a statement goes out with its values in one packet, prepared anew under no name.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.kernel.ending import WRITE_ENDING, Ending
from telemed.kernel.engine import RawConnection
from telemed.kernel.sqlstates import is_disconnect, sqlstate
from telemed.kernel.telemetry.spans import Kind, around, span
from telemed.kernel.telemetry.statements import described

Row = asyncpg.Record
# Under this name a session keeps the `Direct` of its connection; `kernel/database.py` puts it there.
DIRECT = "telemed.direct"
# What the driver raises, and the operating system below it; a time-out is an OSError. An InternalClientError comes when
# the server has ended the connection and the driver has only half noticed.
DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


class StatementFailed(Exception):
    """A statement, or a COMMIT, that the server refused or whose connection broke; *orig* says what it was."""

    def __init__(self, orig: Exception, *, is_disconnect: bool) -> None:
        super().__init__(type(orig).__name__)  # not what it says, which may quote a row
        self.orig = orig
        self.is_disconnect = is_disconnect


class Direct:
    """One connection for one operation."""

    def __init__(
        self,
        connection: RawConnection,
        prepared: dict[Any, Any],  # what the pool keeps with the connection; of any use, so typed by nobody
        *,
        begin: Callable[[], Awaitable[object]],
        lock_wait: Callable[[float], None],
    ) -> None:
        self.connection = connection
        self.note_lock_wait = lock_wait
        self.has_begun = False
        # Sent in place of a COMMIT, if there is one: a statement that is the whole transaction.
        self.whole: Callable[[], Awaitable[object]] | None = None
        # Written before the COMMIT.
        self.ending = Ending()
        self._begin = begin
        self._prepared = prepared

    @classmethod
    async def inside(cls, session: AsyncSession) -> "Direct":
        """Run direct statements as part of a session's transaction; what the session has pending goes first."""
        await session.flush()
        return direct_of(session)

    async def begin(self) -> None:
        """Begin the transaction, unless it has begun."""
        if not self.has_begun:
            # Before it is sent: a caller that leaves meanwhile may have begun one.
            self.has_begun = True
            await self.guarded(self._begin())

    async def look(self, statement: str, *values: object) -> Row:
        """Give the one row of a statement that changes and locks nothing; before the first `change`, outside of it."""
        return (await self._rows(statement, values))[0]

    async def rows(self, statement: str, *values: object) -> list[Row]:
        """Give every row of a statement that changes and locks nothing, as `look` does the one of another."""
        return await self._rows(statement, values)

    async def change(self, statement: str, *values: object) -> Row:
        """Give the one row of a statement that locks or changes something; the first one begins the transaction."""
        return (await self.changes(statement, *values))[0]

    async def changes(self, statement: str, *values: object) -> list[Row]:
        """Give every row of such a statement."""
        await self.begin()
        return await self._rows(statement, values)

    def change_at_the_end(self, statement: str, *values: object) -> list[Row]:
        """Let one statement be all of the transaction: it is sent when the operation has ended, and commits by itself.

        PostgreSQL ends the transaction of a statement that came alone before it says that it is ready for the next
        one, and the driver waits for that word. So the statement's answer is its COMMIT's, with one round trip
        instead of three. Its rows are in the list, once that has come.

        Raises:
            LookupError: a transaction has begun, which the statement would be a part of.
        """
        if self.has_begun:
            raise LookupError("a transaction has begun; this statement could not end it")
        self.has_begun = True
        answer: list[Row] = []

        async def send() -> None:
            answer.extend(await self._rows(statement, values))

        self.whole = send
        return answer

    async def write_ending(self) -> None:
        """Write what was collected for the transaction's end; called before it only to read it in the transaction.

        Raises:
            LookupError: another statement is all of the transaction.
        """
        if self.ending:
            if self.whole is not None:
                raise LookupError("a statement is to be the whole transaction; this one would be another transaction")
            await self.changes(WRITE_ENDING, *self.ending.take())

    async def guarded(self, sent: Awaitable[Any]) -> Any:
        """Wait for what was sent.

        Raises:
            StatementFailed: the server refused it, or the connection broke.
        """
        try:
            return await sent
        except DRIVER_ERRORS as error:
            is_lost = self.connection.is_closed() or isinstance(error, asyncpg.InternalClientError)
            raise StatementFailed(error, is_disconnect=is_lost or is_disconnect(sqlstate(error))) from error

    async def _rows(self, statement: str, values: tuple[object, ...]) -> list[Row]:
        place = around()
        note = None
        if place is not None:
            name, attributes = described(statement)
            note = span(name, Kind.CLIENT, attributes)
            note.begin(place)
        try:
            prepared = self._prepared.get(statement)
            if prepared is None:
                prepared = self._prepared[statement] = await self._prepare(statement)
            # All rows and not "the first": then the server is done with the statement when it has answered.
            rows: list[Row] = await self.guarded(prepared.fetch(*values))
        except StatementFailed as failed:
            if note is not None:
                note.end(sqlstate(failed) or type(failed.orig).__name__)
            raise
        if note is not None:
            note.end()
        return rows

    async def _prepare(self, statement: str) -> "PreparedStatement[Row]":  # generic in the stubs only
        """Learn the types of its values and columns, once for each connection; nothing stays on the server."""
        prepared: PreparedStatement[Row] = await self.guarded(self.connection.prepare(statement))
        if prepared.get_name():
            raise LookupError("a prepared statement has a name: is the driver's cache on?")
        return prepared


def direct_of(transaction: "AsyncSession | Direct") -> Direct:
    """Give the connection of a transaction of `Database`'s.

    Raises:
        LookupError: the session is somebody else's, who would not write what is collected for the end.
    """
    direct: Direct = transaction if isinstance(transaction, Direct) else transaction.info[DIRECT]
    return direct
