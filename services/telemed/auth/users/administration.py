"""Accounts made from the command line: how the first administrator comes to be, and a lost one comes back."""

from dataclasses import dataclass
from typing import Literal

from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.auth.sessions.operations import end_all_sessions
from telemed.auth.users.models import User
from telemed.auth.users.operations import NewUser, assign_role, register_user
from telemed.auth.users.queries import locked_user, user_by_email
from telemed.contracts.roles import Role
from telemed.kernel.acts import Act
from telemed.kernel.audit import AuditEntry, append_audit

Outcome = Literal["created", "promoted", "password-set", "unchanged"]


@dataclass(frozen=True, slots=True)
class WantedAccount:
    """Who is to have the role. *password_hash* is None if the account has this password already."""

    email: str
    full_name: str
    password_hash: str | None
    role: Role


async def current_hash(session: AsyncSession, email: str) -> str | None:
    """Give the hash of the account's password, if there is an account."""
    user = await user_by_email(session, email)
    return user.password_hash if user is not None else None


async def ensure_account(session: AsyncSession, act: Act, wanted: WantedAccount) -> Outcome:
    """Make sure that there is an account with this address, password and role; doing it again changes nothing.

    An account that exists gets the password and loses its sessions: anybody may have registered the address before,
    and would get the role with a password of their own.
    """
    user = await locked_user(session, user_id=None, email=wanted.email)
    if user is None:
        if wanted.password_hash is None:
            raise LookupError("the account has gone since its password was compared")
        await register_user(
            session, act, NewUser(wanted.email, wanted.password_hash, wanted.full_name, role=wanted.role)
        )
        return "created"
    if wanted.password_hash is not None:
        await _set_password(session, act, user, wanted.password_hash)
    if user.role != wanted.role.value:
        await assign_role(session, act, user, wanted.role)
        return "promoted"
    return "unchanged" if wanted.password_hash is None else "password-set"


async def _set_password(session: AsyncSession, act: Act, user: User, password_hash: str) -> None:
    user.password_hash = password_hash
    user.version += 1
    await append_audit(session, act, AuditEntry("user.set_password", "user", user.id))
    await end_all_sessions(session, act, user.id, because="password-set")
