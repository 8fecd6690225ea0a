"""People who call the API: made in the database at once, with a valid access token and no slow hashing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import jwt

from telemed.contracts.roles import Role
from telemed.kernel.clock import Clock
from telemed.kernel.identity import TOKEN_TYPE, hs256_key, key_id
from telemed.kernel.ids import uuid7
from telemed.kernel.keys import derived_key
from telemed.kernel.settings import Settings


@dataclass
class Caller:
    """Somebody with a client; without a token they are nobody in particular."""

    client: httpx.AsyncClient
    token: str | None = None
    headers: dict[str, str] = field(default_factory=dict)  # sent with every request

    async def get(self, path: str, *, headers: Mapping[str, str] | None = None, **query: Any) -> httpx.Response:
        """GET the path; keywords become the query, those that are None are left out (`from_` is `from`)."""
        params = {name.rstrip("_"): value for name, value in query.items() if value is not None}
        return await self.client.get(path, params=params, headers=self._headers(None, headers))

    async def post(
        self, path: str, body: Any = None, *, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """POST the body as JSON, under the idempotency key if there is one."""
        return await self.request("POST", path, body, key=key, headers=headers)

    async def put(
        self, path: str, body: Any = None, *, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """PUT the body as JSON."""
        return await self.request("PUT", path, body, key=key, headers=headers)

    async def delete(
        self, path: str, *, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """DELETE the path."""
        return await self.request("DELETE", path, key=key, headers=headers)

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send any request; *content* is sent as it is, as JSON that may be none."""
        sent = self._headers(key, headers)
        if content is not None:
            return await self.client.request(
                method, path, content=content, headers={"Content-Type": "application/json"} | sent
            )
        if body is None:
            return await self.client.request(method, path, headers=sent)
        return await self.client.request(method, path, json=body, headers=sent)

    def _headers(self, key: str | None, more: Mapping[str, str] | None) -> dict[str, str]:
        headers = dict(self.headers)
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        if key is not None:
            headers["Idempotency-Key"] = key
        return headers | dict(more or {})


@dataclass(kw_only=True)
class User(Caller):
    """A user with a session and an access token."""

    id: str
    session_id: str
    role: Role
    email: str
    full_name: str


class People:
    """Makes users in one database, for one client."""

    def __init__(self, client: httpx.AsyncClient, owner_dsn: str, settings: Settings, clock: Clock) -> None:
        self._client = client
        self._owner_dsn = owner_dsn
        self._settings = settings
        self._clock = clock
        self._made = 0

    @property
    def nobody(self) -> Caller:
        """Give a caller without a token."""
        return Caller(self._client)

    async def patient(self, **more: Any) -> User:
        """Make a patient."""
        return await self.make(Role.PATIENT, **more)

    async def doctor(self, **more: Any) -> User:
        """Make a user with the role of a doctor; `Clinic.doctor` also lists them in the directory."""
        return await self.make(Role.DOCTOR, **more)

    async def admin(self, **more: Any) -> User:
        """Make an administrator."""
        return await self.make(Role.ADMIN, **more)

    async def patients(self, count: int) -> list[User]:
        """Make many patients in one round trip."""
        return await self._insert([self._user(Role.PATIENT) for _ in range(count)])

    async def make(self, role: Role, *, email: str | None = None, full_name: str | None = None) -> User:
        """Make one user."""
        (user,) = await self._insert([self._user(role, email=email, full_name=full_name)])
        return user

    async def left(self, user: User) -> Caller:
        """Give the user as they come with the token of another session, which was revoked."""
        session_id = uuid7()
        connection = await asyncpg.connect(self._owner_dsn)
        try:
            await connection.execute(
                """
                INSERT INTO auth.sessions (id, user_id, rotated_at, created_at, expires_at, revoked_at)
                VALUES ($1, $2, now(), now(), now() + interval '1 day', now())
                """,
                session_id,
                UUID(user.id),
            )
        finally:
            await connection.close()
        return Caller(user.client, self.token(user, sid=str(session_id)))

    def token(self, user: User, *, now: datetime | None = None, **claims: Any) -> str:
        """Mint an access token for the user's session as auth would; *claims* replace or, being None, remove."""
        return mint(self._settings, user.id, user.session_id, now=now or self._clock.now(), claims=claims)

    def _user(self, role: Role, *, email: str | None = None, full_name: str | None = None) -> User:
        user_id, session_id = str(uuid7()), str(uuid7())
        self._made += 1
        return User(
            client=self._client,
            token=mint(self._settings, user_id, session_id, now=self._clock.now()),
            id=user_id,
            session_id=session_id,
            role=role,
            email=email or f"{role}.{user_id}@example.com",
            full_name=full_name or f"{role.value.title()} Number {self._made}",
        )

    async def _insert(self, users: list[User]) -> list[User]:
        now = self._clock.now()
        connection = await asyncpg.connect(self._owner_dsn)
        try:
            async with connection.transaction():
                await connection.executemany(
                    """
                    INSERT INTO auth.users (id, email, full_name, role, password_hash, created_at)
                    VALUES ($1, $2, $3, $4, 'nobody logs in with this', $5)
                    """,
                    [(UUID(user.id), user.email, user.full_name, user.role.value, now) for user in users],
                )
                await connection.executemany(
                    """
                    INSERT INTO auth.sessions (id, user_id, rotated_at, created_at, expires_at)
                    VALUES ($1, $2, $3, $3, $4)
                    """,
                    [(UUID(user.session_id), UUID(user.id), now, now + timedelta(days=30)) for user in users],
                )
        finally:
            await connection.close()
        return users


def mint(
    settings: Settings,
    user_id: str,
    session_id: str,
    *,
    now: datetime,
    claims: Mapping[str, Any] | None = None,
    header: Mapping[str, Any] | None = None,
    secret: bytes | None = None,
) -> str:
    """Sign an HS256 access token; every part of it can be replaced, or removed by None."""
    issued = int(now.timestamp())
    payload = {
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "sub": user_id,
        "sid": session_id,
        "jti": str(uuid7()),
        "iat": issued,
        "nbf": issued,
        "exp": issued + settings.access_token_seconds,
    } | dict(claims or {})
    key = hs256_key(settings)
    head = {"typ": TOKEN_TYPE, "kid": key_id(derived_key(key, "kid"))} | dict(header or {})
    return jwt.encode(
        {name: value for name, value in payload.items() if value is not None},
        secret or key,
        algorithm="HS256",
        headers=head,
    )
