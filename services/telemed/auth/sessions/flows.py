"""Logging in and refreshing: what takes more than one transaction, or commits although it refuses.

Everything else goes through `Work.write`. These cannot: a hash is never made inside a transaction, a failure must be
counted, and the reuse of a refresh token must end its session for good while the answer is 401.
"""

from datetime import timedelta

from fastapi import Response
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.auth.fingerprints import Fingerprints
from telemed.auth.passwords.passwords import Passwords
from telemed.auth.problems import WRONG_CREDENTIALS, InvalidCredentials, InvalidRefreshToken, TooManyAttempts
from telemed.auth.sealed_replies import sealed
from telemed.auth.sessions.operations import accept_password, begin_login, fail_login, open_session, rotate
from telemed.auth.throttling.operations import Attempt, Blocked
from telemed.auth.tokens.gate import TokenGate
from telemed.auth.tokens.schemas import TokenReply
from telemed.auth.users.models import User
from telemed.contracts.entrance import enter
from telemed.contracts.work import Work
from telemed.kernel.idempotency import Reply
from telemed.kernel.problems import Overloaded


async def log_in(work: Work, email: str, password: str) -> Response:
    """Check the password and open a session.

    An idempotency key is looked at only after the password was right: otherwise whoever knows a key could try
    passwords against the stored request, without being counted and at no cost.

    Raises:
        InvalidCredentials: nobody has the address, or the password is wrong.
        TooManyAttempts: there were too many failures for this account or from this address.
        Overloaded: too many passwords wait to be hashed.
    """
    resources = work.resources
    fingerprints, gate = resources.part(Fingerprints), resources.part(TokenGate)
    attempt = Attempt.at(fingerprints, email, work.act.client_address)
    user = await _authenticate(work, email, password, attempt)
    once = sealed(work.once(caller=attempt.account.hex()), secret=resources.settings.secret, proof=password)
    lifetime = timedelta(seconds=resources.settings.refresh_token_seconds)
    try:
        answer = await work.write(open_session, user, attempt, lifetime, gate, reply=TokenReply.of, once=once)
    except InvalidCredentials:  # it was set anew while it was compared
        _count(work, "failed")
        raise
    _count(work, "allowed")
    return answer


async def _authenticate(work: Work, email: str, password: str, attempt: Attempt) -> User:
    """Give the user whose password this is. Two short transactions, with the hash between them."""
    passwords, db = work.resources.part(Passwords), work.resources.db
    try:
        with passwords.place():
            challenge = await db.transact(begin_login, work.act, email, attempt)
            if isinstance(challenge, Blocked):
                _count(work, "throttled")
                raise TooManyAttempts(retry_after=challenge.retry_after)
            stored = challenge.user.password_hash if challenge.user else None
            comparison = await passwords.compare(password, stored)
    except Overloaded:
        _count(work, "overloaded")
        raise
    if challenge.user is None or not comparison.matches:
        await db.transact(fail_login, work.act, challenge.user)
        _count(work, "failed")
        raise InvalidCredentials(WRONG_CREDENTIALS)
    await db.transact(accept_password, work.act, challenge, comparison.upgraded_hash)
    return challenge.user


async def refresh(work: Work, token: str) -> Response:
    """Exchange the refresh token.

    Raises:
        InvalidRefreshToken: forged, expired, revoked, or used up; in the last case the session is over.
    """
    resources = work.resources
    gate, fingerprints = resources.part(TokenGate), resources.part(Fingerprints)
    grace = timedelta(seconds=resources.settings.refresh_grace_seconds)
    presented = gate.refresh_tokens.read(token)
    if presented is None:
        raise InvalidRefreshToken
    caller = fingerprints.of("session", presented.session_id.bytes).hex()
    once = sealed(work.once(caller=caller), secret=resources.settings.secret, proof=token)

    async def transaction(session: AsyncSession) -> Reply | None:
        stored = (await enter(session, None, once)).reply()
        if stored is not None:
            return stored
        tokens = await rotate(session, work.act, presented, gate, fingerprints, grace)
        if tokens is None:
            return None  # and not an exception: that would undo the revocation
        reply = Reply(200, TokenReply.of(tokens).model_dump_json().encode(), {"Content-Type": "application/json"})
        if once:
            once.keep(session, reply, now=work.act.now)
        return reply

    reply = await resources.db.transact(transaction)
    if reply is None:
        raise InvalidRefreshToken
    return reply.response()


def _count(work: Work, outcome: str) -> None:
    work.resources.metrics.logins.labels(outcome).inc()
