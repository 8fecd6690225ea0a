"""Every statement on users."""

from uuid import UUID

from sqlalchemy import select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.auth.users.models import SeenUser, User
from telemed.contracts.people import seen_by_caller
from telemed.contracts.roles import Role

# Index: users_pkey.
LOOK_AT_USER = seen_by_caller(
    f"SELECT {', '.join(f'u.{name}' for name in SeenUser._fields)} FROM auth.users AS u WHERE u.id = caller.id"  # noqa: S608 - columns of ours
)


async def user_by_id(session: AsyncSession, user_id: UUID) -> User | None:
    """Look a user up."""
    found: User | None = await session.scalar(select(User).where(col(User.id) == user_id))
    return found


async def user_by_email(session: AsyncSession, email: str) -> User | None:
    """Look a user up by their normalised address; index users_email_key."""
    found: User | None = await session.scalar(select(User).where(col(User.email) == email))
    return found


async def locked_user(session: AsyncSession, *, user_id: UUID | None, email: str | None) -> User | None:
    """Get a user, by the one that is not None, for a change: locks the row until the transaction ends."""
    is_meant = col(User.id) == user_id if user_id is not None else col(User.email) == email
    found: User | None = await session.scalar(
        # The row may be known to the session from before the lock; what the lock waited for must be seen.
        select(User).where(is_meant).with_for_update().execution_options(populate_existing=True)
    )
    return found


async def locked_admins(session: AsyncSession) -> set[UUID]:
    """Get the ids of all administrators and lock their rows, always in the same order; index users_admins.

    Whoever waited here sees who is an administrator after the other transaction has ended.
    """
    admins = select(col(User.id)).where(col(User.role) == Role.ADMIN.value).order_by(col(User.id)).with_for_update()
    return set(await session.scalars(admins))
