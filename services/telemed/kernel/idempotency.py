"""Idempotent writes: key, hash of the request, effect and reply are one transaction.

A reply that was acknowledged is given again, byte for byte, to whoever repeats the request under its key.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import Response
from sqlalchemy import Column, DateTime, LargeBinary, delete, select, tuple_
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel, col
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.kernel.direct import Direct, Row, direct_of
from telemed.kernel.problems import KeyInProgress, KeyReused


class StoredReply(SQLModel, table=True):
    """The reply to one request under one key. Keys belong to (caller, method, route), never to the world."""

    __tablename__ = "idempotency_keys"
    __table_args__ = {"schema": "platform"}

    caller: str = Field(primary_key=True)
    method: str = Field(primary_key=True)
    route: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    request_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    status: int
    headers: dict[str, str] = Field(sa_column=Column(JSONB, nullable=False))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


@dataclass(frozen=True, slots=True)
class Reply:
    """A response as it goes onto the wire and into the store."""

    status: int
    body: bytes
    headers: dict[str, str]
    is_replayed: bool = False

    def response(self) -> Response:
        """Render the HTTP response."""
        headers = dict(self.headers)
        if self.is_replayed:
            headers["Idempotency-Replayed"] = "true"
        return Response(self.body, status_code=self.status, headers=headers)


class ReplyVault:
    """Seals replies that must not lie in the database in clear, such as those that carry tokens.

    This one has no lock: most replies hold nothing that their own tables do not hold.
    """

    def seal(self, body: bytes) -> bytes:
        """Make the stored form."""
        return body

    def open(self, stored: bytes) -> bytes:
        """Make the body again."""
        return stored


@dataclass(frozen=True, slots=True)
class Once:
    """One request under one idempotency key."""

    caller: str
    method: str
    route: str
    key: str
    request_hash: bytes
    vault: ReplyVault = ReplyVault()  # noqa: RUF009 - stateless

    @property
    def place(self) -> tuple[str, str, str, str]:
        """Give what a key belongs to, and the key."""
        return self.caller, self.method, self.route, self.key

    @property
    def lock_number(self) -> int:
        """Give the number of the advisory lock that claims the key."""
        return int.from_bytes(hashlib.sha256("\x00".join(self.place).encode()).digest()[:8], "big", signed=True)

    def claimed(self, found: Row) -> Reply | None:
        """Say what it means that this was found when the key was to be claimed: None if the request is to be done now.

        The claim is a transaction-scoped advisory lock: it needs no row, ends with the transaction however that ends,
        and works through a pooler in transaction mode.

        Raises:
            KeyInProgress: another transaction holds the claim.
            KeyReused: the key stands for another request.
        """
        if not found["is_claimed"]:
            raise KeyInProgress
        if found["kept_status"] is None:
            return None
        kept = Reply(found["kept_status"], found["kept_body"], json.loads(found["kept_headers"]))
        return self.replayed(kept, found["kept_hash"])

    def replayed(self, stored: Reply, stored_hash: bytes) -> Reply:
        """Open the reply that was found under the key, if it is this request's.

        Raises:
            KeyReused: the key stands for another request.
        """
        if not hmac.compare_digest(stored_hash, self.request_hash):
            raise KeyReused("This Idempotency-Key was used with another request; make a new one.")
        return Reply(stored.status, self.vault.open(stored.body), stored.headers, is_replayed=True)

    def keep(self, transaction: AsyncSession | Direct, reply: Reply, *, now: datetime) -> None:
        """Store the reply; becomes durable with the effect that it reports."""
        direct_of(transaction).ending.replies.append((*self.place, *self.kept(reply), now))

    def kept(self, reply: Reply) -> tuple[bytes, int, str, bytes]:
        """Give what is stored of the reply: its request's hash, status, headers as JSON, sealed body."""
        return self.request_hash, reply.status, json.dumps(reply.headers), self.vault.seal(reply.body)


def request_hash(secret: bytes, *, path: str, query: bytes, body: Any) -> bytes:
    """Fingerprint a request: same path, query and JSON value, same hash.

    Keyed, because a body may hold a password that a plain hash would let a reader of the database guess.
    """
    canonical = json.dumps([path, query.decode("latin-1"), body], sort_keys=True, separators=(",", ":"))
    return hmac.new(secret, canonical.encode(), hashlib.sha256).digest()


async def forget_replies(session: AsyncSession, *, before: datetime, limit: int = 5000) -> int:
    """Delete stored replies that are older than *before*; returns how many, at most *limit* a call."""
    old = (
        select(StoredReply.caller, StoredReply.method, StoredReply.route, StoredReply.key)  # type: ignore[call-overload]  # sqlmodel types four columns, sqlalchemy's select is wider
        .where(col(StoredReply.created_at) < before)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )

    place = tuple_(col(StoredReply.caller), col(StoredReply.method), col(StoredReply.route), col(StoredReply.key))
    gone = await session.execute(delete(StoredReply).where(place.in_(old)))
    return int(gone.rowcount)  # type: ignore[attr-defined]  # a DELETE gives a CursorResult
