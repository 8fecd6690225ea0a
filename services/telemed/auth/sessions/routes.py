"""Logging in, staying in, logging out."""

from uuid import UUID

from fastapi import APIRouter, Response
from fastapi.security import HTTPAuthorizationCredentials

from telemed.auth.fingerprints import Fingerprints
from telemed.auth.problems import InvalidCredentials, InvalidRefreshToken, TooManyAttempts
from telemed.auth.sessions import flows
from telemed.auth.sessions.operations import end_sessions
from telemed.auth.sessions.schemas import LoginBody, LogoutBody, RefreshBody
from telemed.auth.tokens.gate import TokenGate
from telemed.auth.tokens.schemas import TokenReply
from telemed.contracts.access import AnybodyWrites, BearerToken
from telemed.contracts.work import Work
from telemed.kernel.http.strict_json import StrictRoute
from telemed.kernel.problems import ON_WRITES, NotAuthenticated, raises

router = APIRouter(prefix="/auth", tags=["identity"], route_class=StrictRoute)


@router.post(
    "/login",
    response_model=TokenReply,
    responses=raises(InvalidCredentials, TooManyAttempts, *ON_WRITES),
    summary="Log in",
)
async def login(body: LoginBody, work: AnybodyWrites) -> Response:
    """Give tokens to whoever knows the password. Takes the same time whether the account exists or not."""
    return await flows.log_in(work, body.email, body.password)


@router.post(
    "/refresh",
    response_model=TokenReply,
    responses=raises(InvalidRefreshToken, *ON_WRITES),
    summary="Exchange a refresh token",
)
async def refresh(body: RefreshBody, work: AnybodyWrites) -> Response:
    """Give new tokens for a refresh token, which is used up by this.

    Repeating the request within seconds gives the same refresh token again. Using it later, or after its successor,
    ends the session: somebody else must have it.
    """
    return await flows.refresh(work, body.refresh_token)


@router.post(
    "/logout",
    status_code=204,
    response_model=None,
    responses=raises(NotAuthenticated, InvalidRefreshToken, *ON_WRITES),
    summary="Log out",
    openapi_extra={"security": [{}]},  # added to the bearer token's: a refresh token alone will do
)
async def logout(work: AnybodyWrites, credentials: BearerToken, body: LogoutBody | None = None) -> Response:
    """End the session of the access token, of the refresh token, or of both; one of them is needed.

    Its access tokens are refused everywhere from here on. Logging out again is no mistake.
    """
    sessions = _named_sessions(work, credentials, body)
    names = (session_id.bytes for session_id in sorted(sessions))
    caller = work.resources.part(Fingerprints).of("session", *names).hex()
    return await work.write(end_sessions, sessions, reply=lambda _: None, status=204, once=work.once(caller=caller))


def _named_sessions(work: Work, credentials: HTTPAuthorizationCredentials | None, body: LogoutBody | None) -> set[UUID]:
    """Give the sessions that the request proves to hold tokens of, whether they still stand or not."""
    token = body.refresh_token if body is not None else None
    if credentials is None and token is None:
        raise NotAuthenticated("Send the access token as `Authorization: Bearer …`, or the refresh token in the body.")
    sessions = set()
    if credentials is not None:
        sessions.add(work.resources.verifier.verify(credentials.credentials, now=work.act.now).session_id)
    if token is not None:
        presented = work.resources.part(TokenGate).refresh_tokens.read(token)
        if presented is None:
            raise InvalidRefreshToken
        sessions.add(presented.session_id)
    return sessions
