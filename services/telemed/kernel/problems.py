"""Problems: failures that a caller can act on, as RFC 9457 documents and as OpenAPI responses."""

import inspect
import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from telemed.kernel.audit import AuditEntry

MEDIA_TYPE = "application/problem+json"


class ProblemDocument(BaseModel):
    """What every error looks like on the wire (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Stable slug of the kind of problem; what programs compare.")
    title: str = Field(description="The kind of problem in words; the same for every occurrence.")
    status: int = Field(description="HTTP status code.", ge=400, le=599)
    detail: str = Field(description="What went wrong this time, and what to do about it.")
    instance: str = Field(description="Path of the request.")
    trace_id: str = Field(description="Quote this when you ask for help.")


@cache  # as many as there are kinds; each refusal says its own four times
def _in_kebab_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


class Problem(Exception):
    """A failure that a caller can act on.

    Subclasses say *status*; the slug is their name in kebab case, the title their docstring's first sentence.
    Typed extras are declared as an inner ``Extras`` model and given by keyword.
    """

    status: ClassVar[int] = 500
    is_final: ClassVar[bool] = True  # the same request would fail again: may be stored under its idempotency key
    retry_after: timedelta | None = None
    headers: Mapping[str, str] = {}
    denial: "AuditEntry | None" = None  # what the trail is to say of it; written by whoever ends the transaction

    class Extras(BaseModel):
        """Members beyond those of every problem."""

        model_config = ConfigDict(extra="forbid")  # a misspelt member must not vanish silently

    def __init__(
        self,
        detail: str = "",
        *,
        retry_after: timedelta | None = None,
        denial: "AuditEntry | None" = None,
        **extras: Any,  # checked by Extras
    ) -> None:
        super().__init__(detail or self.title())
        self.detail = detail or f"{self.title()}."
        self.extras = self.Extras(**extras)
        if retry_after is not None:
            self.retry_after = retry_after
        if denial is not None:
            self.denial = denial

    @classmethod
    def slug(cls) -> str:
        """Give the stable name that goes into ``type``."""
        return _in_kebab_case(cls.__name__)

    @classmethod
    def title(cls) -> str:
        """Give the first sentence of the docstring, without its full stop."""
        return (cls.__doc__ or cls.__name__).strip().split("\n")[0].rstrip(".")

    def document(self, *, instance: str, trace_id: str) -> dict[str, Any]:
        """Render the RFC 9457 document."""
        return {
            "type": self.slug(),
            "title": self.title(),
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "trace_id": trace_id,
            **self.extras.model_dump(mode="json"),
        }

    def response_headers(self) -> dict[str, str]:
        """Give the headers that belong to the problem, ``Retry-After`` in whole seconds included."""
        headers = dict(self.headers)
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_after.total_seconds())))
        return headers


class FieldError(BaseModel):
    """One thing that is wrong with a request."""

    loc: list[str | int] = Field(description="Where: body, query, path or header, then the names and positions.")
    msg: str = Field(description="What is wrong, in words.")
    type: str = Field(description="What is wrong, as a slug.")


class InvalidRequest(Problem):
    """The request is malformed."""

    status = 422

    class Extras(Problem.Extras):
        errors: list[FieldError] = Field(default=[], description="Every mistake that was found.")


class NotAuthenticated(Problem):
    """A valid access token is needed."""

    status = 401
    is_final = False
    headers: Mapping[str, str] = {"WWW-Authenticate": 'Bearer realm="telemed"'}


class Forbidden(Problem):
    """Your role may not do this."""

    status = 403
    is_final = False  # roles change


class NotFound(Problem):
    """There is no such thing, or it is not yours to see."""

    status = 404


class MethodNotAllowed(Problem):
    """This path does not know the method."""

    status = 405


class RequestTimeout(Problem):
    """The request's body did not arrive in time."""

    status = 408
    is_final = False


class PayloadTooLarge(Problem):
    """The request's body is too large."""

    status = 413


class KeyReused(Problem):
    """The idempotency key was used for another request."""

    status = 422
    is_final = False


class KeyInProgress(Problem):
    """A request with this idempotency key is still running."""

    status = 409
    is_final = False
    retry_after = timedelta(seconds=1)


class MalformedRequest(Problem):
    """This is not HTTP."""

    status = 400


class RequestHeadersTooLarge(Problem):
    """The request's headers are too large."""

    status = 431


class InternalError(Problem):
    """Something went wrong on our side."""

    status = 500
    is_final = False


class Unavailable(Problem):
    """A part of the platform that this request needs does not answer."""

    status = 503
    is_final = False
    retry_after = timedelta(seconds=2)


class Overloaded(Problem):
    """The platform is busy; nothing was done."""

    status = 503
    is_final = False
    retry_after = timedelta(seconds=1)


class OutcomeUnknown(Problem):
    """The connection broke while committing; it may or may not have been done.

    Retrying with the same idempotency key finds out.
    """

    status = 503
    is_final = False
    retry_after = timedelta(seconds=1)


class DeadlineExceeded(Problem):
    """The request's deadline has passed; nothing was done."""

    status = 504
    is_final = False


# What any route may answer, whatever it does.
EVERYWHERE: tuple[type[Problem], ...] = (InvalidRequest, InternalError, Unavailable, Overloaded, DeadlineExceeded)
# What any route with a body and a transaction of its own may answer besides.
ON_WRITES: tuple[type[Problem], ...] = (PayloadTooLarge, RequestTimeout, KeyReused, KeyInProgress, OutcomeUnknown)


def raises(*problems: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """Declare the problems of a route, for FastAPI's ``responses=``.

    The handler checks at run time that whatever is raised was declared here.
    """
    by_status: dict[int, list[type[Problem]]] = defaultdict(list)
    for problem in dict.fromkeys((*problems, *EVERYWHERE)):
        by_status[problem.status].append(problem)
    return {status: _response(kinds) for status, kinds in sorted(by_status.items())}


def _response(kinds: list[type[Problem]]) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if any(kind.retry_after for kind in kinds):
        headers["Retry-After"] = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
    if any("WWW-Authenticate" in kind.headers for kind in kinds):
        headers["WWW-Authenticate"] = {"description": "How to authenticate.", "schema": {"type": "string"}}
    schemas = [{"$ref": f"#/components/schemas/{kind.__name__}"} for kind in kinds]
    response: dict[str, Any] = {
        "description": "; ".join(kind.title() for kind in kinds),
        "content": {
            MEDIA_TYPE: {
                "schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas},
                "examples": {kind.slug(): {"summary": kind.title(), "value": _example(kind)} for kind in kinds},
            }
        },
    }
    if headers:
        response["headers"] = headers
    return response


def component(kind: type[Problem]) -> dict[str, Any]:
    """Give the OpenAPI schema of a problem's document; it stands under the class's name in the components."""
    base = ProblemDocument.model_json_schema()
    extras = kind.Extras.model_json_schema(ref_template="#/components/schemas/{model}")
    properties = base["properties"] | extras.get("properties", {})
    properties["type"] = {"const": kind.slug(), "description": base["properties"]["type"]["description"]}
    properties["status"] = {"const": kind.status, "description": "HTTP status code."}
    return {
        "type": "object",
        "title": kind.__name__,
        "description": inspect.cleandoc(kind.__doc__ or ""),  # Python 3.13 strips indentation itself
        "properties": properties,
        "required": [*base["required"], *extras.get("properties", {})],
        "example": _example(kind),
    }


def _example(kind: type[Problem]) -> dict[str, Any]:
    example: dict[str, Any] = {
        "type": kind.slug(),
        "title": kind.title(),
        "status": kind.status,
        "detail": f"{kind.title()}.",
        "instance": "/…",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    }
    for name, schema in kind.Extras.model_json_schema()["properties"].items() if kind.Extras.model_fields else ():
        example[name] = _example_value(name, schema)
    return example


def _example_value(name: str, schema: dict[str, Any]) -> Any:
    """Show a member: by its own example, or by what its type looks like."""
    if name == "errors":
        return [{"loc": ["body", "slot_id"], "msg": "Field required", "type": "missing"}]
    if schema.get("examples"):
        return schema["examples"][0]
    kind = schema.get("anyOf", [schema])[0]  # of an optional member, what it is when it is there
    formats = {"uuid": "0198f3c2-7a10-7c3e-9a54-3f1c5b7d2e90", "date-time": "2026-11-23T09:00:00Z"}
    types = {"integer": 1, "number": 1.0, "boolean": True, "array": []}
    return formats.get(kind.get("format"), types.get(kind.get("type"), "booked"))
