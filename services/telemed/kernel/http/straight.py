"""The straight way of hot requests: FastAPI's route without FastAPI's way to it.

Between the edge and an endpoint lie eight layers of middleware, two routers, two exit stacks and the solving of
dependencies; for a booking that was a fifth of its cost, for a search a quarter, for a look a half. A request that is
regular in every respect reaches the same endpoint with the same values and the same `Work` from here: a write has one
bearer token, at most one idempotency key, a right path and a JSON body that the route's model accepts, if it has one;
of a search or a look each parameter is known and there once, and a look has one bearer token or none. Whatever is
irregular takes the ordinary way, which knows what to say about it. Nothing is decided here: the endpoint is the same
function, and so is the access rule.
"""

import json
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar, cast, runtime_checkable
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message, Scope

from telemed.kernel.http.exchange import Exchange
from telemed.kernel.http.strict_json import StrictRequest, parse_strictly
from telemed.kernel.problems import Problem
from telemed.kernel.service import Service

_BEARER = re.compile(rb"Bearer ([A-Za-z0-9._~+/=-]+)")  # RFC 6750
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")  # as contracts/access.py describes it
_READ = frozenset({b"authorization", b"idempotency-key", b"content-type"})
_JSON = frozenset({b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"})


A = TypeVar("A")


class Way(Protocol):
    """The straight way to one route."""

    async def serve(self, scope: Scope, exchange: Exchange) -> bool:
        """Answer a regular request; False if it is none, and then nothing has been done and nothing is lost."""
        ...


StraightWays = Mapping[tuple[str, str], Way]


@runtime_checkable
class WriteAccess(Protocol):
    """The access rule of a route for users that takes an idempotency key; it makes the endpoint's `work`."""

    def begin_write(self, request: Request, token: str, idempotency_key: str | None) -> Any:
        """Verify the token, and say what is known of the request."""
        ...


@runtime_checkable
class PublicAccess(Protocol):
    """The access rule of a route that anybody may read; it makes the endpoint's `work`."""

    def begin_read(self, request: Request) -> Any:
        """Say what is known of the request."""
        ...


@runtime_checkable
class LookAccess(Protocol):
    """The access rule of a route that shows something to users; it makes the endpoint's `work`."""

    def begin_look(self, request: Request, token: str | None) -> Any:
        """Verify the token, and say what is known of the request."""
        ...


class _Credentials(NamedTuple):
    token: str
    idempotency_key: str | None


class _Endpoint:
    """A route's own function, and who answers the problems that it raises."""

    def __init__(self, app: FastAPI, route: APIRoute) -> None:
        self._app = app
        self._route = route
        self._function = cast("Callable[..., Awaitable[Response]]", route.endpoint)
        # The very handler that answers a problem on the ordinary way.
        self._answer = cast("Callable[[Request, Problem], Awaitable[Response]]", app.exception_handlers[Problem])

    async def answer(
        self, scope: Scope, exchange: Exchange, request: Request, begin: Callable[[], Any], **given: object
    ) -> None:
        """Call it with the work that *begin* makes and with what is *given*, and send what it returns."""
        scope["app"], scope["route"] = self._app, self._route
        try:
            response = await self._function(work=begin(), **given)
        except Problem as problem:
            response = await self._answer(request, problem)
        await exchange.answer(response)


class StraightWrite:
    """The straight way to a route for users that takes parameters in its path, and a body or none."""

    def __init__(self, app: FastAPI, route: APIRoute) -> None:
        """Look at what the route needs.

        Raises:
            ValueError: it needs more than these and access for users who write.
        """
        needs = route.dependant
        others = [*needs.query_params, *needs.header_params, *needs.cookie_params]
        if others or [field.name for field in needs.body_params] not in ([], ["body"]):
            raise ValueError(f"{route.path} takes more than what is in its path, a body and its work")
        self._access = _access_of(route, WriteAccess, "users who write")  # type: ignore[type-abstract]  # compared, not made
        self._path = _Path(route)
        self._body: Any = next(iter(needs.body_params), None)  # FastAPI's own field, whose type is private
        self._endpoint = _Endpoint(app, route)

    async def serve(self, scope: Scope, exchange: Exchange) -> bool:
        """Answer a request with one bearer token, at most one key, and path and body as the route wants them."""
        given = self._path.read(scope)
        credentials = _credentials(scope["headers"], types=_JSON if self._body is not None else None)
        if given is None or credentials is None:
            return False
        request = StrictRequest(scope, exchange.receive)
        message = await _whole_body(exchange)
        if not self._read(request, message, given):
            exchange.unread(message)
            return False
        begin = partial(self._access.begin_write, request, *credentials)
        await self._endpoint.answer(scope, exchange, request, begin, **given)
        return True

    def _read(self, request: StrictRequest, message: Message, given: dict[str, object]) -> bool:
        """Add what the route's model makes of the body; False if it makes nothing, or the client has gone."""
        raw = message.get("body", b"")
        if self._body is None:
            request._body = raw  # noqa: SLF001 - where Starlette and `Work` look for it
            return bool(message["type"] == "http.request")
        try:
            request._json = parse_strictly(raw)  # noqa: SLF001 - where StrictRequest and `Work` look for it
        except json.JSONDecodeError:
            return False
        body = _validated(self._body, request._json, "body")  # noqa: SLF001
        given["body"] = body
        return body is not None


class StraightRead:
    """The straight way to a public route that takes a model of query parameters."""

    def __init__(self, app: FastAPI, route: APIRoute) -> None:
        """Look at what the route needs.

        Raises:
            ValueError: it needs more than parameters called `wanted` and access for anybody.
        """
        needs = route.dependant
        others = [*needs.path_params, *needs.body_params, *needs.header_params, *needs.cookie_params]
        if others or [field.name for field in needs.query_params] != ["wanted"]:
            raise ValueError(f"{route.path} takes more than what is wanted and its work")
        self._access = _access_of(route, PublicAccess, "anybody who reads")  # type: ignore[type-abstract]  # as above
        self._wanted: Any = needs.query_params[0]  # as above
        model: Any = self._wanted.field_info.annotation
        self._names = frozenset(field.alias or name for name, field in model.model_fields.items())
        self._endpoint = _Endpoint(app, route)

    async def serve(self, scope: Scope, exchange: Exchange) -> bool:
        """Answer a request each of whose parameters is known, given once and as the model wants it."""
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        values = dict(pairs)
        if len(values) < len(pairs) or not self._names.issuperset(values):
            return False
        wanted = _validated(self._wanted, values, "query")
        if wanted is None:
            return False
        request = StrictRequest(scope, exchange.receive)
        begin = partial(self._access.begin_read, request)
        await self._endpoint.answer(scope, exchange, request, begin, wanted=wanted)
        return True


class StraightLook:
    """The straight way to a route for users that takes parameters in its path and its query."""

    def __init__(self, app: FastAPI, route: APIRoute) -> None:
        """Look at what the route needs.

        Raises:
            ValueError: it needs more than these and access for users who look.
        """
        needs = route.dependant
        others = [*needs.body_params, *needs.header_params, *needs.cookie_params]
        if others or any(field.field_info.is_required() for field in needs.query_params):
            raise ValueError(f"{route.path} takes more than parameters, of which the query's may be left out")
        self._access = _access_of(route, LookAccess, "users who look")  # type: ignore[type-abstract]  # as above
        self._path = _Path(route)
        self._fields: dict[str, Any] = {field.alias: field for field in needs.query_params}  # as above
        self._endpoint = _Endpoint(app, route)

    async def serve(self, scope: Scope, exchange: Exchange) -> bool:
        """Answer a request with at most one bearer token, each of whose parameters is known, given once and right."""
        is_regular, token = _bearer_token(scope["headers"])
        given = self._read(scope) if is_regular else None
        if given is None:
            return False
        request = StrictRequest(scope, exchange.receive)
        await self._endpoint.answer(scope, exchange, request, partial(self._access.begin_look, request, token), **given)
        return True

    def _read(self, scope: Scope) -> dict[str, object] | None:
        """Make the values of all parameters; None if there is anything that the ordinary way must judge."""
        given = self._path.read(scope)
        if given is None:
            return None
        given |= {field.name: field.get_default() for field in self._fields.values()}
        if query := scope["query_string"]:
            pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
            values = dict(pairs)
            if len(values) < len(pairs) or not self._fields.keys() >= values.keys():
                return None
            for name, value in values.items():
                made = _validated(self._fields[name], value, "query")
                if made is None:
                    return None
                given[self._fields[name].name] = made
        return given


class _Path:
    """The parameters in a route's path."""

    def __init__(self, route: APIRoute) -> None:
        parts = route.path.split("/")
        # FastAPI's own fields, whose type is private; each part of the path that is one, by its place.
        self._places: list[tuple[int, Any]] = [
            (parts.index(f"{{{field.alias}}}"), field) for field in route.dependant.path_params
        ]

    def read(self, scope: Scope) -> dict[str, object] | None:
        """Make their values; None if there is one that the ordinary way must judge."""
        parts = scope["path"].split("/") if self._places else ()
        given: dict[str, object] = {}
        for place, field in self._places:
            made = _validated(field, parts[place], "path")
            if made is None:
                return None
            given[field.name] = made
        return given


def _access_of(route: APIRoute, kind: type[A], whom: str) -> A:
    """Give the rule that makes the endpoint's `work`.

    Raises:
        ValueError: the route depends on more than that, or on a rule for others.
    """
    needs = route.dependant.dependencies
    access: object = needs[0].call if needs else None
    if [need.name for need in needs] != ["work"] or not isinstance(access, kind):
        raise ValueError(f"{route.path} is not for {whom}, or takes more than its work")
    return access


def _validated(field: Any, values: object, place: str) -> Any | None:  # the field is FastAPI's; what its model makes
    made, errors = field.validate(values, {}, loc=(place,))
    return None if errors else made


def straight_ways(app: FastAPI, services: Iterable[Service]) -> StraightWays:
    """Find the straight ways that the services ask for.

    Raises:
        ValueError: one leads to no route, or to one that needs more than the way provides.
    """
    ways: dict[tuple[str, str], Way] = {}
    for service in services:
        routes = {
            (method, route.path): route
            for router in service.routers
            for route in router.routes
            if isinstance(route, APIRoute)
            for method in route.methods or ()
        }
        for name in service.straight:
            method, _, path = name.partition(" ")
            if (method, path) not in routes:
                raise ValueError(f"{service.name} has no straight way to {name}")
            ways[method, path] = _way(app, routes[method, path], method)
    return ways


def _way(app: FastAPI, route: APIRoute, method: str) -> Way:
    if method != "GET":
        return StraightWrite(app, route)
    needs = route.dependant.dependencies
    is_look = bool(needs) and isinstance(needs[0].call, LookAccess)
    return StraightLook(app, route) if is_look else StraightRead(app, route)


async def _whole_body(exchange: Exchange) -> Message:
    """Give the body as one message; or that the client has gone, which is no body that could be read."""
    message = await exchange.receive()
    pieces = [message.get("body", b"")]
    while message.get("more_body", False):
        message = await exchange.receive()
        pieces.append(message.get("body", b""))
    return {**message, "body": b"".join(pieces)} if len(pieces) > 1 and message["type"] == "http.request" else message


def _bearer_token(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bool, str | None]:
    """Read who looks: whether that is said in a regular way, and the token, if there is one."""
    sent = [value for name, value in headers if name == b"authorization"]
    if not sent:
        return True, None
    bearer = _BEARER.fullmatch(sent[0]) if len(sent) == 1 else None
    return bearer is not None, bearer[1].decode() if bearer is not None else None


def _credentials(headers: Iterable[tuple[bytes, bytes]], *, types: Collection[bytes] | None) -> _Credentials | None:
    """Read what says who comes; None if anything about it is irregular, such as a body of none of these *types*."""
    sent: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _READ:
            if name in sent:
                return None
            sent[name] = value
    bearer = _BEARER.fullmatch(sent.get(b"authorization", b""))
    key = sent.get(b"idempotency-key")
    if bearer is None or (key is not None and _KEY.fullmatch(key) is None):
        return None
    if types is not None and sent.get(b"content-type") not in types:
        return None
    return _Credentials(bearer[1].decode(), key.decode() if key is not None else None)
