"""What is done with sessions: one function, one transaction."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.auth.fingerprints import Fingerprints
from telemed.auth.problems import WRONG_CREDENTIALS, InvalidCredentials
from telemed.auth.sessions import queries
from telemed.auth.sessions.models import LoginSession
from telemed.auth.sessions.rules import Verdict, verdict_on
from telemed.auth.throttling.operations import Attempt, Blocked, Counted, count_attempt, remember_address, take_back
from telemed.auth.tokens.gate import TokenGate, TokenPair
from telemed.auth.tokens.refresh import Presented
from telemed.auth.users.models import User
from telemed.auth.users.queries import user_by_email, user_by_id
from telemed.contracts.events import SESSIONS_REVOKED
from telemed.kernel.acts import Act, Actor
from telemed.kernel.audit import AuditEntry, AuditOutcome, append_audit
from telemed.kernel.ids import uuid7
from telemed.kernel.jobs import FORGOTTEN_AT_ONCE
from telemed.kernel.outbox import Event, append_events
from telemed.kernel.resources import Resources

# A revoked session must be known for as long as an access token of it may be valid: at most an hour.
KEEP_ENDED_SESSIONS_FOR = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Challenge:
    """An attempt to log in that may be made, and the user whom it is about, if there is one."""

    counted: Counted
    user: User | None


async def begin_login(session: AsyncSession, act: Act, email: str, attempt: Attempt) -> Challenge | Blocked:
    """Count the attempt and find the user; the same work whether the user exists or not."""
    user = await user_by_email(session, email)
    counted = await count_attempt(session, act, attempt)
    if isinstance(counted, Blocked):
        await append_audit(session, act, _login(user, "denied", "too-many-attempts"))
        return counted
    return Challenge(counted, user)


async def fail_login(session: AsyncSession, act: Act, user: User | None) -> None:
    """Note that the password was wrong, or that nobody has the address."""
    await append_audit(session, act, _login(user, "failed", "wrong-password" if user else "unknown-email"))


async def accept_password(session: AsyncSession, act: Act, challenge: Challenge, upgraded_hash: str | None) -> None:
    """Take the attempt back, and store the password's hash at today's cost if it was of an old one."""
    await take_back(session, act, challenge.counted)
    if upgraded_hash is not None and challenge.user is not None:
        await queries.replace_hash(
            session, user_id=challenge.user.id, stored=challenge.user.password_hash, upgraded=upgraded_hash
        )


async def open_session(
    session: AsyncSession, act: Act, user: User, attempt: Attempt, lifetime: timedelta, gate: TokenGate
) -> TokenPair:
    """Begin a session for a user whose password was right, if it is their password still.

    Shares a lock of the user's row until the transaction ends. Whoever sets a password ends all sessions under that
    row's lock (`administration.ensure_account`): of the two, the later one sees what the other did.

    Raises:
        InvalidCredentials: the password was set anew since it was compared.
    """
    if not await queries.has_password_of(session, user):
        raise InvalidCredentials(WRONG_CREDENTIALS, denial=_login(user, "failed", "wrong-password"))
    opened = LoginSession(
        id=uuid7(), user_id=user.id, rotated_at=act.now, created_at=act.now, expires_at=act.now + lifetime
    )
    session.add(opened)
    await remember_address(session, act, attempt)
    await append_audit(session, act.by(Actor(user.id, user.role, opened.id)), _login(user, "allowed"))
    return gate.admit(opened, now=act.now)


async def rotate(
    session: AsyncSession, act: Act, presented: Presented, gate: TokenGate, fingerprints: Fingerprints, grace: timedelta
) -> TokenPair | None:
    """Exchange a refresh token; None if it is no good, which the caller commits too: a reuse ends the session.

    Locks the session, so that of a hundred requests with one token the first rotates and the others repeat.
    """
    found = await queries.locked_session(session, presented.session_id)
    user = await user_by_id(session, found.user_id) if found is not None else None
    if found is None or user is None:
        return None
    verdict = verdict_on(found, presented.generation, now=act.now, grace=grace)
    if verdict is Verdict.INVALID:
        return None
    act = act.by(Actor(user.id, user.role, found.id))
    if verdict is Verdict.REUSED:
        await append_audit(session, act, AuditEntry("session.reuse_detected", "session", found.id, outcome="denied"))
        await revoke(session, act, found, because="reuse")
        return None
    if verdict is Verdict.ROTATE:
        found.generation += 1
        found.rotated_at = act.now
        # Who refreshes has shown to be the holder: people whose address changes with every train stay known.
        await remember_address(session, act, Attempt.at(fingerprints, user.email, act.client_address))
    await append_audit(
        session, act, AuditEntry("session.refresh", "session", found.id, details={"step": verdict.value})
    )
    return gate.admit(found, now=act.now)


async def end_sessions(session: AsyncSession, act: Act, session_ids: Iterable[UUID]) -> None:
    """End the sessions that still stand; ending one again changes nothing."""
    for session_id in sorted(session_ids):
        found = await queries.locked_session(session, session_id)
        user = await user_by_id(session, found.user_id) if found is not None else None
        if found is None or user is None or found.revoked_at is not None:
            continue
        by_holder = act.by(Actor(user.id, user.role, found.id))
        await append_audit(session, by_holder, AuditEntry("session.logout", "session", found.id))
        await revoke(session, by_holder, found, because="logout")


async def end_all_sessions(session: AsyncSession, act: Act, user_id: UUID, *, because: str) -> None:
    """End every session of the user."""
    for found in await queries.standing_sessions(session, user_id, now=act.now):
        await append_audit(session, act, AuditEntry("session.revoke", "session", found.id, details={"reason": because}))
        await revoke(session, act, found, because=because)


async def revoke(session: AsyncSession, act: Act, found: LoginSession, *, because: str) -> None:
    """End a session whose row is locked: its access tokens are refused from the commit on, by every service."""
    found.revoked_at = act.now
    found.revoked_because = because
    payload = {"user_id": str(found.user_id), "session_id": str(found.id), "reason": because}
    await append_events(session, act, Event(SESSIONS_REVOKED, found.id, 1, payload))


async def forget_ended_sessions(resources: Resources) -> int:
    """Delete sessions that have been over for a day; returns how many."""
    before = resources.clock.now() - KEEP_ENDED_SESSIONS_FOR
    return await resources.db.transact(queries.forget_sessions, before=before, limit=FORGOTTEN_AT_ONCE)


def _login(user: User | None, outcome: AuditOutcome, reason: str | None = None) -> AuditEntry:
    details = {"reason": reason} if reason else {}
    return AuditEntry("session.login", "user", user.id if user else None, outcome=outcome, details=details)
