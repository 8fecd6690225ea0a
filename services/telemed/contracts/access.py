"""Who may call a route.

A route declares its access by the type of its `work` parameter (`PatientWrites`, `UserReads`, …); a test
walks all routes and refuses one that declares none and is not on the public list. The token is verified locally,
role and session are read from the database inside the very transaction that does the work (`work.py`).
"""

from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from telemed.contracts.roles import Role
from telemed.contracts.work import Work
from telemed.kernel.acts import Act
from telemed.kernel.problems import FieldError, InvalidRequest, NotAuthenticated
from telemed.kernel.resources import Resources
from telemed.kernel.telemetry.context import current_trace

ALL_ROLES = frozenset(Role)


class _OneBearer(HTTPBearer):
    """Reads `Authorization`, of which there must be one: two parsers could choose two different ones."""

    async def __call__(self, request: HTTPConnection) -> HTTPAuthorizationCredentials | None:
        if len(request.headers.getlist("authorization")) > 1:
            raise NotAuthenticated("Send one `Authorization` header.")
        return await super().__call__(request)


_bearer = _OneBearer(
    scheme_name="HTTPBearer", auto_error=False, description="The access token that login or refresh gave."
)
# The credentials of a request that needs none; routes that need them declare their access by their `work`.
BearerToken = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Repeat a request under the same key and it is done once; a fresh UUID is a good key.",
        examples=["0198f3c2-7a10-7c3e-9a54-3f1c5b7d2e90"],
    ),
]


@dataclass(frozen=True)
class AccessRule:
    """The dependency that makes a route's `Work`. *roles* is empty for routes that anybody may call."""

    roles: frozenset[Role]

    def begin(self, request: Request, token: str | None) -> Work:
        """Verify the token, if the route needs one, and say what is known of the request."""
        resources: Resources = request.app.state.resources
        now = resources.clock.now()
        trace = current_trace.get()
        act = Act(
            now=now,
            request_id=trace.request_id if trace else "",
            trace_id=trace.trace_id if trace else "",
            traceparent=trace.traceparent if trace else "",
            client_address=request.client.host if request.client else "",
        )
        claims = None
        if self.roles:
            if token is None:
                raise NotAuthenticated("Send `Authorization: Bearer <access token>`.")
            claims = resources.verifier.verify(token, now=now)
        return Work(resources, request, act, claims, self.roles)


class Reads(AccessRule):
    """Access for routes that change nothing."""

    # Asynchronous like those below, although nothing is awaited: FastAPI sends other callables to a thread each.
    async def __call__(self, request: Request, credentials: BearerToken) -> Work:
        """Make the request's `Work`."""
        return self.begin(request, _token(credentials))

    def begin_look(self, request: Request, token: str | None) -> Work:
        """Make the `Work` of a request whose headers were read already (kernel/http/straight.py)."""
        return self.begin(request, token)


class Writes(AccessRule):
    """Access for routes that change something; they take an `Idempotency-Key`."""

    async def __call__(
        self,
        request: Request,
        credentials: BearerToken,
        idempotency_key: IdempotencyKey = None,
    ) -> Work:
        """Make the request's `Work`."""
        return replace(self.begin(request, _token(credentials)), idempotency_key=_only(request, idempotency_key))

    def begin_write(self, request: Request, token: str, idempotency_key: str | None) -> Work:
        """Make the `Work` of a request whose headers were read already (kernel/http/straight.py)."""
        return replace(self.begin(request, token), idempotency_key=idempotency_key)


class OptionalReads(Reads):
    """Access for routes that anybody may read, and that show more to some; a token, if sent, must be valid."""

    def begin(self, request: Request, token: str | None) -> Work:
        """Verify the token, if there is one."""
        rule = AccessRule(self.roles if token is not None else frozenset())
        return rule.begin(request, token)


class PublicReads(AccessRule):
    """Access for routes that anybody may read."""

    async def __call__(self, request: Request) -> Work:
        """Make the request's `Work`."""
        return self.begin_read(request)

    def begin_read(self, request: Request) -> Work:
        """Make the `Work` of a request on whichever way (kernel/http/straight.py)."""
        return self.begin(request, None)


class PublicWrites(AccessRule):
    """Access for routes with which people who have no token yet change something."""

    async def __call__(self, request: Request, idempotency_key: IdempotencyKey = None) -> Work:
        """Make the request's `Work`."""
        return replace(self.begin(request, None), idempotency_key=_only(request, idempotency_key))


def _token(credentials: HTTPAuthorizationCredentials | None) -> str | None:
    return credentials.credentials if credentials is not None else None


def _only(request: Request, key: str | None) -> str | None:
    """Refuse a second `Idempotency-Key`: two parsers could choose two different ones, and repeat different things."""
    if len(request.headers.getlist("idempotency-key")) > 1:
        wrong = FieldError(loc=["header", "Idempotency-Key"], msg="Send one key.", type="repeated")
        raise InvalidRequest(errors=[wrong])
    return key


AnybodyReads = Annotated[Work, Depends(PublicReads(frozenset()))]
AnybodyWrites = Annotated[Work, Depends(PublicWrites(frozenset()))]
VisitorReads = Annotated[Work, Depends(OptionalReads(ALL_ROLES))]
UserReads = Annotated[Work, Depends(Reads(ALL_ROLES))]
UserWrites = Annotated[Work, Depends(Writes(ALL_ROLES))]
PatientWrites = Annotated[Work, Depends(Writes(frozenset({Role.PATIENT})))]
DoctorWrites = Annotated[Work, Depends(Writes(frozenset({Role.DOCTOR})))]
AdminReads = Annotated[Work, Depends(Reads(frozenset({Role.ADMIN})))]
AdminWrites = Annotated[Work, Depends(Writes(frozenset({Role.ADMIN})))]
