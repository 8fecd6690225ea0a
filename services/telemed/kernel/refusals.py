"""Refusals that stand under their idempotency keys, written for many at once.

Hundreds lose a race for every one who wins it, and a loser with a key is owed the same answer for ever. Each in a
transaction of its own, losers would cost nearly what winners do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from telemed.kernel.database import Database
from telemed.kernel.direct import Direct, Row
from telemed.kernel.gathering import Gathering
from telemed.kernel.idempotency import Once, Reply

_KEEP = "SELECT * FROM platform.keep_replies($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"


@dataclass(frozen=True, slots=True)
class _Refusal:
    once: Once
    reply: Reply
    now: datetime


class Refusals:
    """Those of one process."""

    def __init__(self, db: Database) -> None:
        async def keep(refusals: Sequence[_Refusal]) -> list[Row]:
            return await db.transact_directly(_keep, refusals)

        self._kept = Gathering(keep)

    async def keep(self, once: Once, reply: Reply, *, now: datetime) -> Reply | None:
        """Store the reply, or give the one that is stored under the key already.

        Raises:
            KeyInProgress: another transaction holds the claim.
            KeyReused: the key stands for another request.
            As `Database.transact_directly`.
        """
        return once.claimed(await self._kept.ask(_Refusal(once, reply, now)))


async def _keep(direct: Direct, refusals: Sequence[_Refusal]) -> list[Row]:
    return direct.change_at_the_end(_KEEP, *map(list, zip(*map(_values, refusals), strict=True)))


def _values(refusal: _Refusal) -> tuple[object, ...]:
    once = refusal.once
    return (once.lock_number, *once.place, *once.kept(refusal.reply), refusal.now)
