"""What is done with users: one function, one transaction."""

from dataclasses import dataclass
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.auth.problems import EmailTaken, LastAdmin
from telemed.auth.throttling.operations import Attempt, remember_address
from telemed.auth.users import queries
from telemed.auth.users.models import SeenUser, User
from telemed.auth.users.rules import leaves_no_admin
from telemed.auth.users.schemas import UserReply
from telemed.contracts.events import ROLE_CHANGED, USER_REGISTERED
from telemed.contracts.looks import Found, Look, Shown
from telemed.contracts.roles import Role
from telemed.kernel.acts import Act
from telemed.kernel.audit import AuditEntry, AuditOutcome, append_audit
from telemed.kernel.ids import uuid7
from telemed.kernel.outbox import Event, append_events
from telemed.kernel.problems import Forbidden, NotFound


@dataclass(frozen=True, slots=True)
class NewUser:
    """Somebody who is to get an account; *email* is normalised, the password hashed."""

    email: str
    password_hash: str
    full_name: str
    phone: str | None = None
    role: Role = Role.PATIENT


async def register_user(session: AsyncSession, act: Act, new: NewUser, seen_at: Attempt | None = None) -> User:
    """Make the account; *seen_at* is where its holder is, and will be let in though others fail elsewhere.

    Raises:
        EmailTaken: there is one with this address. Two who register at once are told apart by users_email_key.
    """
    holder = await queries.user_by_email(session, new.email)
    if holder is not None:
        # Whoever is refused has learnt that the holder has an account here, which is theirs to know.
        tried = _entry("user.register", holder, outcome="failed", reason="email-taken")
        raise EmailTaken("There is an account with this e-mail address; log in.", denial=tried)
    user = User(
        id=uuid7(),
        email=new.email,
        full_name=new.full_name,
        phone=new.phone,
        role=new.role.value,
        password_hash=new.password_hash,
        created_at=act.now,
    )
    session.add(user)
    if seen_at is not None:
        await remember_address(session, act, seen_at)
    await append_audit(session, act, _entry("user.register", user, role=user.role))
    await append_events(session, act, Event(USER_REGISTERED, user.id, 1, {"user_id": str(user.id)}))
    return user


def show_me() -> Look[UserReply]:
    """Give the user who asks."""

    def judge(_act: Act, rows: Found) -> Shown[UserReply]:
        if not rows:
            raise NotFound  # cannot happen: whoever has no row has no role either
        user = SeenUser._make(rows[0])
        return Shown(UserReply.of(user), [_entry("user.read", user)])

    return Look(queries.LOOK_AT_USER, (), judge)


async def change_role(session: AsyncSession, act: Act, user_id: UUID | None, email: str | None, role: Role) -> User:
    """Give the user, named by id or by address, the role; it holds from the commit on, as it is in no token.

    Locks the administrators first, so that of two who remove each other one is refused.

    Raises:
        NotFound: there is no such user.
        Forbidden: the actor is no administrator any more.
        LastAdmin: there would be no administrator left.
    """
    admins = await queries.locked_admins(session)
    if act.known_actor.user_id not in admins:
        ended = AuditEntry("user.change_role", "user", user_id, outcome="denied", details={"reason": "no-admin"})
        raise Forbidden("This is for admins.", denial=ended)
    user = await queries.locked_user(session, user_id=user_id, email=email)
    if user is None:
        unknown = AuditEntry("user.change_role", "user", user_id, outcome="failed", details={"reason": "not-found"})
        raise NotFound("There is no such user.", denial=unknown)
    if leaves_no_admin(role=Role(user.role), wanted=role, admins=len(admins)):
        last = AuditEntry("user.change_role", "user", user.id, outcome="denied", details={"reason": "last-admin"})
        raise LastAdmin("You are the only administrator; make somebody else one first.", denial=last)
    await assign_role(session, act, user, role)
    return user


async def assign_role(session: AsyncSession, act: Act, user: User, role: Role) -> None:
    """Change the role of a user whose row is locked, and say so; nobody is told of a change that changes nothing."""
    previous = user.role
    await append_audit(session, act, _entry("user.change_role", user, role=role.value, previous_role=previous))
    if role.value == previous:
        return
    user.role = role.value
    user.version += 1
    payload = {"user_id": str(user.id), "role": role.value, "previous_role": previous}
    await append_events(session, act, Event(ROLE_CHANGED, user.id, user.version, payload))


def _entry(action: str, user: User | SeenUser, *, outcome: AuditOutcome = "allowed", **details: str) -> AuditEntry:
    patient_id = user.id if user.role == Role.PATIENT.value else None
    return AuditEntry(action, "user", user.id, patient_id, outcome, details=dict(details))
