"""Looks: reads that bear a replica, yet leave their trace on the primary and obey the rights of this very moment."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.kernel.acts import Act, Actor
from telemed.kernel.audit import COLLECTED, AuditEntry, append_audit
from telemed.kernel.problems import OutcomeUnknown, Problem, Unavailable
from telemed.kernel.replication.exchange import current_consistency
from telemed.kernel.replication.replicas import NoReplica

if TYPE_CHECKING:
    from telemed.contracts.work import Work

T = TypeVar("T")
Shows = Callable[[AsyncSession, Act], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class _Seen(Generic[T]):
    """What a replica showed, to whom it believed to show it, and what the trail is to say of it."""

    shown: T
    actor: Actor | None
    entries: list[AuditEntry]


async def look(work: "Work", operation: Shows[T]) -> T:
    """Run an operation that shows something on a replica as new as the client's own writes.

    Who may see it is decided on the primary, where the records of the look are committed before a byte leaves. A
    refusal counts only if the primary says it too: what a replica lacks may be there. Without a primary, what belongs
    to no patient is shown as a replica has it, with its age; the rest is refused, because a look without a trace must
    not happen.

    Raises:
        Unavailable: the look cannot be recorded, or nobody answers.
        Overloaded, and whatever `Work.read` raises.
    """
    reads = work.resources.reads
    if not reads.replicas:
        return await work.read(operation)
    if reads.is_primary_gone:
        return await _without_primary(work, operation)
    try:
        seen = await reads.replicas.read(partial(_glance, work, operation), reads.wanted())
        if await _is_confirmed(work, seen):
            return seen.shown
        reason = "role_changed"
    except NoReplica as nobody:
        reason = nobody.reason
    except _Refused:
        reason = "refused"
    except (Unavailable, OutcomeUnknown):
        return await _without_primary(work, operation)
    try:
        async with reads.replicas.primary_instead(reason):
            return await work.read(operation)
    except Unavailable:
        return await _without_primary(work, operation)


class _Refused(Exception):
    """The operation said no, on a replica's state."""


async def _glance(work: "Work", operation: Shows[T], session: AsyncSession) -> _Seen[T]:
    entries: list[AuditEntry] = []
    session.info[COLLECTED] = entries
    try:
        act = await work.enter(session)
        return _Seen(await operation(session, act), act.actor, entries)
    except Problem as problem:
        raise _Refused from problem


async def _is_confirmed(work: "Work", seen: _Seen[T]) -> bool:
    """Commit the records of the look on the primary; False if the caller is not who the replica took them for.

    Raises:
        NotAuthenticated, Forbidden: the caller's session or role has ended.
    """
    if work.claims is None and not seen.entries:
        return True

    async def confirm(session: AsyncSession) -> bool:
        act = await work.enter(session)
        if act.actor != seen.actor:
            return False
        await append_audit(session, act, *seen.entries)
        return True

    try:
        return await work.resources.db.transact(confirm)
    except Problem as problem:
        await work.settle(problem, None)
        raise


async def _without_primary(work: "Work", operation: Shows[T]) -> T:
    try:
        served = await work.resources.reads.replicas.read_however_old(partial(_glance, work, operation))
    except _Refused as refused:
        # Perhaps true, perhaps only old; the primary would know, and would keep the record of it.
        raise Unavailable from refused
    if served.value.entries:
        raise Unavailable("This cannot be shown now, because the look could not be recorded.")
    consistency = current_consistency.get()
    if consistency is not None:
        consistency.age = served.age or timedelta()
    return served.value.shown
