"""The records of looks, written for many at once.

A look changes nothing else, so its record needs no transaction that it could share; what it needs is to be committed
before anything is shown. Alone, a record costs the database more than what was looked at: a commit, six indexes and the
queue of the chain (migration 0005), which is filled once for each statement. Those who come while records are being
written share the next statement, as in `kernel/refusals.py`; who comes alone waits for nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from telemed.kernel.acts import Act
from telemed.kernel.audit import AuditEntry, record_of
from telemed.kernel.database import Database
from telemed.kernel.deadline import require_time
from telemed.kernel.direct import Direct
from telemed.kernel.ending import WRITE_ENDING, Ending
from telemed.kernel.gathering import Gathering


@dataclass(frozen=True, slots=True)
class _Seen:
    act: Act
    entries: Sequence[AuditEntry]


class Trail:
    """The way of one process' looks into the audit trail."""

    def __init__(self, db: Database) -> None:
        async def append(seen: Sequence[_Seen]) -> list[None]:
            await db.transact_directly(_append, seen)
            return [None] * len(seen)

        self._append = Gathering(append).ask

    async def append(self, act: Act, entries: Sequence[AuditEntry]) -> None:
        """Commit the records of what this act has seen, all of them or none; nothing may be shown before.

        Raises:
            DeadlineExceeded: there is no time left.
            OutcomeUnknown: nobody knows whether they were committed.
            As `Database.transact_directly`.
        """
        if entries:
            require_time()  # of this act; what many share has no deadline
            await self._append(_Seen(act, entries))


async def _append(direct: Direct, seen: Sequence[_Seen]) -> None:
    ending = Ending()
    ending.records += [record_of(one.act, entry) for one in seen for entry in one.entries]
    direct.change_at_the_end(WRITE_ENDING, *ending.take())
