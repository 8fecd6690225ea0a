"""Looks: reads that bear a replica, yet leave their trace on the primary and obey the rights of this very moment.

A look is one statement, which tells who asks as well, and a judgement of what it finds. On the primary that is a round
trip and one more for the records (docs/decisions/0031-looks-in-two-round-trips.md); a replica runs the same two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.contracts.roles import Role
from telemed.kernel.acts import Act
from telemed.kernel.audit import AuditEntry, append_audit
from telemed.kernel.direct import Direct
from telemed.kernel.problems import OutcomeUnknown, Problem, Unavailable
from telemed.kernel.replication.exchange import current_consistency
from telemed.kernel.replication.replicas import NoReplica

if TYPE_CHECKING:
    from telemed.contracts.work import Work

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_UNRECORDED = "This cannot be shown now, because the look could not be recorded."
Found = Sequence[tuple[Any, ...]]  # rows, whose columns the statement's author knows


@dataclass(frozen=True, slots=True)
class Shown(Generic[T_co]):
    """What may be shown, and what the trail is to say of it."""

    content: T_co
    entries: Sequence[AuditEntry] = ()


@dataclass(frozen=True, slots=True)
class Look(Generic[T_co]):
    """What somebody wants to see.

    *statement* is made by `people.seen_by_caller`, *values* are those of its query. *judge* is told who asks, and what
    was found without the caller's role; it decides what is shown, or raises the problem that the caller is to have.
    """

    statement: str
    values: tuple[object, ...]
    judge: Callable[[Act, Found], Shown[T_co]]


@dataclass(frozen=True, slots=True)
class _Seen(Generic[T]):
    """What somebody was shown, as whom, and what the trail is to say of it."""

    shown: T
    act: Act
    entries: Sequence[AuditEntry]


async def look(work: "Work", wanted: Look[T]) -> T:
    """Show something as a replica has it that is as new as the client's own writes; without replicas, the primary.

    Who may see it is decided on the primary, where the records of the look are committed before a byte leaves. A
    refusal counts only if the primary says it too: what a replica lacks may be there. Without a primary, what belongs
    to no patient is shown as a replica has it, with its age; the rest is refused, because a look without a trace must
    not happen.

    Raises:
        NotAuthenticated, Forbidden: as `Work.enter`, and recorded like whatever the judgement raises (`Work.settle`).
        Unavailable: the look cannot be recorded, or nobody answers.
        Overloaded, DeadlineExceeded: as `Database.read_directly`.
    """
    reads = work.resources.reads
    if not reads.replicas:
        return await _on_primary(work, wanted)
    if reads.is_primary_gone:
        return await _without_primary(work, wanted)
    try:
        seen = await reads.replicas.read(partial(_glance, work, wanted), reads.wanted())
        if await _is_confirmed(work, seen):
            return seen.shown
        reason = "role_changed"
    except NoReplica as nobody:
        reason = nobody.reason
    except _Refused:
        reason = "refused"
    except (Unavailable, OutcomeUnknown):
        return await _without_primary(work, wanted)
    try:
        async with reads.replicas.primary_instead(reason):
            return await _on_primary(work, wanted)
    except Unavailable:
        return await _without_primary(work, wanted)


async def _on_primary(work: "Work", wanted: Look[T]) -> T:
    try:
        seen = await work.resources.db.read_directly(partial(_see, work, wanted))
        await work.resources.trail.append(seen.act, seen.entries)
    except OutcomeUnknown as unknown:
        # Of a look nothing is left to find out about: at worst the trail says that somebody saw what was not shown.
        raise Unavailable(_UNRECORDED) from unknown
    except Problem as problem:
        await work.settle(problem, None)
        raise
    return seen.shown


async def _see(work: "Work", wanted: Look[T], direct: Direct) -> _Seen[T]:
    claims = work.claims
    user_id, session_id = (claims.user_id, claims.session_id) if claims is not None else (None, None)
    rows = await direct.rows(wanted.statement, user_id, session_id, *wanted.values)
    role = rows[0][0]
    act = work.admit(Role(role) if role is not None else None) if claims is not None else work.act
    # A query that finds nothing leaves one row with nothing behind the role.
    shown = wanted.judge(act, [row[1:] for row in rows] if rows[0][1] is not None else [])
    return _Seen(shown.content, act, shown.entries)


class _Refused(Exception):
    """The judgement was no, on a replica's state."""


async def _glance(work: "Work", wanted: Look[T], session: AsyncSession) -> _Seen[T]:
    try:
        return await _see(work, wanted, await Direct.inside(session))
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
        if act.actor != seen.act.actor:
            return False
        await append_audit(session, act, *seen.entries)
        return True

    try:
        return await work.resources.db.transact(confirm)
    except Problem as problem:
        await work.settle(problem, None)
        raise


async def _without_primary(work: "Work", wanted: Look[T]) -> T:
    try:
        served = await work.resources.reads.replicas.read_however_old(partial(_glance, work, wanted))
    except _Refused as refused:
        # Perhaps true, perhaps only old; the primary would know, and would keep the record of it.
        raise Unavailable from refused
    if served.value.entries:
        raise Unavailable(_UNRECORDED)
    consistency = current_consistency.get()
    if consistency is not None:
        consistency.age = served.age or timedelta()
    return served.value.shown
