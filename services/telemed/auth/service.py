"""What the auth service is made of."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from telemed.auth.fingerprints import Fingerprints
from telemed.auth.passwords.passwords import Passwords, open_passwords
from telemed.auth.problems import EmailTaken
from telemed.auth.sessions.operations import forget_ended_sessions
from telemed.auth.sessions.routes import router as sessions
from telemed.auth.throttling.operations import forget_old
from telemed.auth.tokens.gate import TokenGate
from telemed.auth.tokens.routes import router as tokens
from telemed.auth.users.routes import router as users
from telemed.kernel.jobs import FORGOTTEN_AT_ONCE, Job
from telemed.kernel.priority import Priority
from telemed.kernel.resources import Resources
from telemed.kernel.service import Parts, Service


@asynccontextmanager
async def open_parts(resources: Resources) -> AsyncIterator[Parts]:
    """Load the signing key and start the hashing threads."""
    gate = TokenGate(resources.settings, resources.verifier)
    async with open_passwords(resources) as passwords:
        yield {TokenGate: gate, Passwords: passwords, Fingerprints: Fingerprints(resources.settings.secret)}


SERVICE = Service(
    name="auth",
    title="identity",
    routers=(users, sessions, tokens),
    constraint_problems={"users_email_key": EmailTaken},
    priorities={
        # Who cannot renew a token is thrown out in the middle of a visit, and comes back with a password, which costs a
        # thousand times as much. Who logs out does so for a reason.
        "POST /auth/refresh": Priority.CRITICAL,
        "POST /auth/logout": Priority.CRITICAL,
        "GET /auth/jwks.json": Priority.BROWSING,
    },
    straight=("GET /auth/me",),
    jobs=(
        Job("forget-login-attempts", timedelta(minutes=10), forget_old, batch=FORGOTTEN_AT_ONCE),
        Job("forget-sessions", timedelta(hours=1), forget_ended_sessions, batch=FORGOTTEN_AT_ONCE),
    ),
    open_parts=open_parts,
)
