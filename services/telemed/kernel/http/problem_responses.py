"""Problems on the wire: every failure leaves as `application/problem+json`."""

import json
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException

from telemed.kernel.problems import (
    MEDIA_TYPE,
    FieldError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Problem,
)
from telemed.kernel.telemetry.context import current_trace
from telemed.kernel.telemetry.logs import get_logger
from telemed.kernel.telemetry.metrics import Metrics

log = get_logger("problems")

MAX_ERRORS = 20  # a body of a thousand wrong fields needs no thousand sentences


def problem_response(problem: Problem, *, path: str) -> Response:
    """Render the problem."""
    trace = current_trace.get()
    document = problem.document(instance=path, trace_id=trace.trace_id if trace else "")
    return Response(
        # ensure_ascii: the path may hold anything that a client typed.
        json.dumps(document).encode(),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=problem.response_headers(),
    )


def install_problem_handlers(app: FastAPI, *, service: str, metrics: Metrics) -> None:
    """Answer every exception of the application's routes with a problem."""

    def answer(request: Request, problem: Problem) -> Response:
        metrics.problems.labels(service, problem.slug()).inc()
        if not is_declared(request, problem):
            # A client was told something that the OpenAPI document does not say. The tests look for this event.
            log.error("problem.undeclared", type=problem.slug(), route=getattr(request.scope.get("route"), "path", ""))
        return problem_response(problem, path=request.scope["path"])

    # Starlette types handlers by the widest exception; each is only ever called with its own.
    async def on_problem(request: Request, error: Exception) -> Response:
        return answer(request, cast("Problem", error))

    async def on_invalid(request: Request, error: Exception) -> Response:
        return answer(request, InvalidRequest(errors=field_errors(cast("RequestValidationError", error))))

    async def on_http(request: Request, error: Exception) -> Response:
        return answer(request, _from_http(cast("HTTPException", error), request))

    async def on_failure(request: Request, _error: Exception) -> Response:
        # Starlette would answer in plain text. It raises the error again afterwards, and the edge logs it.
        return answer(request, InternalError())

    app.add_exception_handler(Exception, on_failure)
    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)


def is_declared(request: Request, problem: Problem) -> bool:
    """Tell whether the request's route declares the problem; a request without a route has nothing to declare."""
    route = request.scope.get("route")
    responses: dict[int | str, dict[str, Any]] | None = getattr(route, "responses", None)
    if responses is None or isinstance(problem, MethodNotAllowed):
        return True
    content = responses.get(problem.status, {}).get("content", {})
    return problem.slug() in content.get(MEDIA_TYPE, {}).get("examples", {})


def field_errors(error: RequestValidationError) -> list[FieldError]:
    """Say what is wrong and where, without repeating what was sent: it may be a password or a diagnosis."""
    return [
        FieldError(
            loc=[
                part if isinstance(part, int) else part[:100].encode("utf-8", "replace").decode()
                for part in item["loc"]
            ],
            msg=_message(item),
            type=item["type"],
        )
        for item in error.errors()[:MAX_ERRORS]
    ]


def _message(item: dict[str, Any]) -> str:
    if item["type"] == "json_invalid":
        return f"Not valid JSON: {item.get('ctx', {}).get('error', 'unreadable')}."
    message: str = item["msg"]
    return message.removeprefix("Value error, ")[:300]


def _from_http(error: HTTPException, request: Request) -> Problem:
    problem: Problem
    if error.status_code == 404:
        problem = NotFound("There is nothing at this address.")
    elif error.status_code == 405:
        problem = MethodNotAllowed()
        problem.headers = {"Allow": _methods_of(request)}
    else:
        wrong = FieldError(loc=["body"], msg="The body cannot be read.", type="body")
        problem = InvalidRequest(errors=[wrong])
    return problem


def _methods_of(request: Request) -> str:
    """List the methods of every route with this path, as RFC 9110 wants it; Starlette names those of one only."""
    found = {
        method
        for route in iter_route_contexts(request.app.routes)
        if route.path_regex.match(request.scope["path"])
        for method in route.methods or ()
    }
    return ", ".join(sorted(found))
