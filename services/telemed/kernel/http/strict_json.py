"""Request bodies as RFC 8259 means them: what two parsers could read differently is refused."""

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute

# Far above what any schema needs, far below where serializers and hashes run out of stack.
MAX_DEPTH = 32
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class StrictRequest(Request):
    """A request whose JSON has no duplicate names, no infinite numbers, no lone surrogates and little nesting."""

    async def json(self) -> Any:
        """Parse the body.

        Raises:
            json.JSONDecodeError: FastAPI answers it with 422 and our handler with a problem.
        """
        if not hasattr(self, "_json"):
            self._json = parse_strictly(await self.body())
        return self._json


class StrictRoute(APIRoute):
    """A route that reads its body as `StrictRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            request = StrictRequest(request.scope, request.receive)
            if request.method in _WITH_BODY:
                # Read here, because FastAPI turns whatever happens while it reads (too large, too slow) into a 400.
                await request.body()
            return await handler(request)

        return strict


def parse_strictly(body: bytes) -> Any:
    """Parse one JSON text, or raise `json.JSONDecodeError` with a sentence that names the fault."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        _refuse("not UTF-8")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite)
        if "\\u" in text:  # an escape may name half of a surrogate pair, which no database and no log can hold
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        _refuse("nested too deeply")
    except UnicodeEncodeError:
        _refuse("a lone surrogate is not a character")
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer of more digits than Python converts
        _refuse("a number is too long")
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        _refuse("nested too deeply")
    return value


def _is_deeper(value: Any, depth: int) -> bool:
    """Tell whether containers are nested more than *depth* times; level by level, so that no depth hurts."""
    level = [value]
    for _ in range(depth):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        _refuse("a name occurs twice in one object")
    return value


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):  # 1e999; what reads it next may refuse it, or print `Infinity`
        _refuse("a number is too large")
    return value


def _no_constant(name: str) -> NoReturn:
    _refuse(f"{name} is not JSON")


def _refuse(why: str) -> NoReturn:
    raise json.JSONDecodeError(why, "", 0)
