"""Access and refresh tokens of a data set's people, without a login: for who holds the deployment's secret.

Everybody has one session from the load on. Its tokens are made by auth's own gate, so they are the very ones that a
login would have given; a refresh, a logout or a revocation works on them as ever.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

import asyncpg

from dataset.cast import DOMAIN
from dataset.loading import connected
from telemed.auth.sessions.models import LoginSession
from telemed.auth.tokens.gate import TokenGate
from telemed.kernel.identity import TokenVerifier
from telemed.kernel.settings import Settings

RoleName = Literal["patient", "doctor", "admin"]

_PEOPLE = """
    SELECT u.id, u.email, u.full_name, u.role, s.id AS session_id, s.generation, s.created_at, s.expires_at
    FROM auth.users AS u
    JOIN LATERAL (
        SELECT * FROM auth.sessions AS s
        WHERE s.user_id = u.id AND s.revoked_at IS NULL AND s.expires_at > $3 ORDER BY s.id LIMIT 1
    ) AS s ON true
    WHERE u.role = $1 AND u.email LIKE $2
    ORDER BY u.email
    LIMIT $4 OFFSET $5
"""


@dataclass(frozen=True, slots=True)
class Bearer:
    """Somebody of the data set, and their session."""

    id: UUID
    email: str
    full_name: str
    role: str
    session_id: UUID
    generation: int
    session_begun_at: datetime
    session_ends_at: datetime


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login would have given."""

    access_token: str
    refresh_token: str
    expires_in_seconds: int


class Mint:
    """Makes tokens with the secret in *settings*, which must be the services'."""

    def __init__(self, settings: Settings) -> None:
        self._gate = TokenGate(settings, TokenVerifier(settings))

    def tokens(self, bearer: Bearer, *, now: datetime | None = None) -> Tokens:
        """Make the session's current tokens; the access token is valid for ACCESS_TOKEN_SECONDS from now on."""
        session = LoginSession(
            id=bearer.session_id,
            user_id=bearer.id,
            generation=bearer.generation,
            rotated_at=bearer.session_begun_at,
            created_at=bearer.session_begun_at,
            expires_at=bearer.session_ends_at,
        )
        pair = self._gate.admit(session, now=now or datetime.now(UTC))
        return Tokens(pair.access_token, pair.refresh_token, int(pair.expires_in.total_seconds()))


async def bearers(
    connection: asyncpg.Connection,
    role: RoleName,
    count: int,
    *,
    skip: int = 0,
    seed: int | None = None,
    now: datetime | None = None,
) -> list[Bearer]:
    """Give people of the data set by number; of every seed's, if there are several and none is named.

    The first half of a seed's patients has visits, the second half has none yet.
    """
    pattern = f"{role}.%@{DOMAIN}" if seed is None else f"{role}.%.s{seed}@{DOMAIN}"
    rows = await connection.fetch(_PEOPLE, role, pattern, now or datetime.now(UTC), count, skip)
    return [Bearer(*row.values()) for row in rows]


@asynccontextmanager
async def owner_connection(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """Lend a connection that may read accounts.

    Raises:
        LoadProblem: as `connected`.
    """
    connection = await connected(settings.owner_database)
    try:
        yield connection
    finally:
        await connection.close(timeout=10)
