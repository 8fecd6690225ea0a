"""What auth publishes about people: their name and role, and whether a session still stands.

Both are read from the database, never from a token: a role change or a logout holds from its commit on, everywhere.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.contracts.roles import Role

# auth.people and auth.revoked_sessions are views: all that other services' code may know of auth's tables.
_STANDING = text(
    """
    SELECT p.role
    FROM auth.people AS p
    WHERE p.id = :user_id
      AND NOT EXISTS (SELECT FROM auth.revoked_sessions AS r WHERE r.id = :session_id)
    """
)
_PERSON = text("SELECT id, full_name, role FROM auth.people WHERE id = :user_id")


@dataclass(frozen=True, slots=True)
class Person:
    """A user, as far as other services need to know."""

    id: UUID
    full_name: str
    role: Role


async def current_role(session: AsyncSession, *, user_id: UUID, session_id: UUID) -> Role | None:
    """Give the role that the user has now; None if the user is gone or the session was ended or revoked."""
    role = await session.scalar(_STANDING, {"user_id": user_id, "session_id": session_id})
    return Role(role) if role is not None else None


async def person(session: AsyncSession, user_id: UUID) -> Person | None:
    """Look a user up."""
    row = (await session.execute(_PERSON, {"user_id": user_id})).one_or_none()
    return Person(row.id, row.full_name, Role(row.role)) if row is not None else None
