"""Every statement on sessions."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, or_, select, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.auth.sessions.models import LoginSession
from telemed.auth.users.models import User


async def locked_session(session: AsyncSession, session_id: UUID) -> LoginSession | None:
    """Get a session for a change: locks its row until the transaction ends."""
    found: LoginSession | None = await session.scalar(
        select(LoginSession).where(col(LoginSession.id) == session_id).with_for_update()
    )
    return found


async def standing_sessions(session: AsyncSession, user_id: UUID, *, now: datetime) -> Sequence[LoginSession]:
    """Get the user's sessions that are not over, and lock their rows; index sessions_of_user."""
    found = await session.scalars(
        select(LoginSession)
        .where(
            col(LoginSession.user_id) == user_id,
            col(LoginSession.revoked_at).is_(None),
            col(LoginSession.expires_at) > now,
        )
        .order_by(col(LoginSession.id))
        .with_for_update()
    )
    return found.all()


async def replace_hash(session: AsyncSession, *, user_id: UUID, stored: str, upgraded: str) -> None:
    """Store a hash of today's cost, unless the password was changed meanwhile."""
    await session.execute(
        update(User).where(col(User.id) == user_id, col(User.password_hash) == stored).values(password_hash=upgraded)
    )


async def has_password_of(session: AsyncSession, seen: User) -> bool:
    """Tell whether the password that the user had when *seen* is theirs still; locks the row against changes.

    A hash of today's cost in place of an older one is no new password, and no new version.
    """
    is_same = or_(col(User.version) == seen.version, col(User.password_hash) == seen.password_hash)
    found = await session.scalar(select(is_same).where(col(User.id) == seen.id).with_for_update(read=True))
    return bool(found)


async def forget_sessions(session: AsyncSession, *, before: datetime, limit: int) -> int:
    """Delete sessions that ended by themselves *before*; index sessions_age."""
    old = (
        select(col(LoginSession.id))
        .where(col(LoginSession.expires_at) < before)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    gone = await session.execute(delete(LoginSession).where(col(LoginSession.id).in_(old)))
    return int(gone.rowcount)  # type: ignore[attr-defined]  # a DELETE gives a CursorResult
