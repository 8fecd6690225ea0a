"""Registering, oneself, and roles."""

from fastapi import APIRouter, Response

from telemed.auth.fingerprints import Fingerprints
from telemed.auth.passwords.passwords import Passwords
from telemed.auth.problems import EmailTaken, LastAdmin
from telemed.auth.throttling.operations import Attempt
from telemed.auth.users.operations import NewUser, change_role, register_user, show_me
from telemed.auth.users.schemas import RegisterBody, RoleBody, UserReply
from telemed.contracts.access import AdminWrites, AnybodyWrites, UserReads
from telemed.kernel.http.strict_json import StrictRoute
from telemed.kernel.problems import ON_WRITES, Forbidden, NotAuthenticated, NotFound, raises

router = APIRouter(prefix="/auth", tags=["identity"], route_class=StrictRoute)


@router.post(
    "/register",
    status_code=201,
    response_model=UserReply,
    responses=raises(EmailTaken, *ON_WRITES),
    summary="Make an account",
)
async def register(body: RegisterBody, work: AnybodyWrites) -> Response:
    """Make an account with the role of a patient. Then log in."""
    passwords = work.resources.part(Passwords)
    password_hash = await passwords.hash_new(body.password, about=(body.email, body.full_name))
    here = Attempt.at(work.resources.part(Fingerprints), body.email, work.act.client_address)
    return await work.write(
        register_user,
        NewUser(body.email, password_hash, body.full_name, body.phone),
        here,
        reply=UserReply.of,
        status=201,
        location=lambda _: "/auth/me",
        once=work.once(caller=here.account.hex()),
    )


@router.get(
    "/me", response_model=UserReply, responses=raises(NotAuthenticated, Forbidden, NotFound), summary="See oneself"
)
async def me(work: UserReads) -> Response:
    """Give the account of the caller, with the role that they have now."""
    return await work.look(show_me())


@router.post(
    "/admin/role",
    response_model=UserReply,
    responses=raises(NotAuthenticated, Forbidden, NotFound, LastAdmin, *ON_WRITES),
    summary="Give somebody a role",
)
async def assign(body: RoleBody, work: AdminWrites) -> Response:
    """Give a user another role. It holds at once, for tokens that are out already as well."""
    return await work.write(change_role, body.user_id, body.email, body.role, reply=UserReply.of)
