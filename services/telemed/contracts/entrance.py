"""Who comes with a write, and what is known of their idempotency key: one statement at a transaction's beginning.

All of it is read from the database, never from a token: a role change or a logout holds from its commit on, everywhere.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.contracts.roles import Role
from telemed.kernel.direct import Direct, Row, direct_of
from telemed.kernel.idempotency import Once, Reply
from telemed.kernel.identity import Claims

# The claim is part of it, so it is for the beginning of a transaction that may write. A function, and a volatile one,
# because the stored reply must be looked for after the claim (migration 0016).
_ENTER = "SELECT * FROM platform.enter($1, $2, $3, $4, $5, $6, $7, $8)"
_NO_KEY = (None,) * 5


@dataclass(frozen=True, slots=True)
class Entrance:
    """What was found of somebody who comes: the role that they have now; None if they or their session are gone."""

    role: Role | None = None
    once: Once | None = None
    found: Row | None = None

    def reply(self) -> Reply | None:
        """Give the reply that is stored under their key; None if the request is to be done now.

        Raises:
            KeyInProgress, KeyReused: as `Once.claimed`. To be asked only of those who may come in.
        """
        if self.once is None or self.found is None:
            return None
        return self.once.claimed(self.found)


async def enter(
    transaction: AsyncSession | Direct,
    claims: Claims | None,
    once: Once | None,
    *,
    admitted: Collection[Role] | None = None,
) -> Entrance:
    """Find who comes, and claim their key for this transaction if their role is *admitted* (None: whatever it is).

    Asks nothing about an anonymous caller without a key.
    """
    if claims is None and once is None:
        return Entrance()
    row = await direct_of(transaction).change(
        _ENTER,
        *((claims.user_id, claims.session_id) if claims is not None else (None, None)),
        list(admitted) if admitted is not None else None,
        *((once.lock_number, *once.place) if once is not None else _NO_KEY),
    )
    role = row["caller_role"]
    return Entrance(Role(role) if role is not None else None, once, row)
