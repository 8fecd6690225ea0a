"""Lets a share of the requests fail or be slow, as a file says; for processes that have this folder on PYTHONPATH.

No production code knows of it. What fails fails inside of the application, so that the platform itself answers and
counts it. The file (LOOK_FAULTS) holds one line: `errors 0.05`, `slow 0.3 0.4` (share, seconds), or nothing.
"""

import asyncio
import os
import random
from pathlib import Path
from typing import Any

from telemed.kernel.http import app

_FILE = Path(os.environ["LOOK_FAULTS"])
_SPARED = frozenset({"/livez", "/readyz", "/metrics"})
_at_the_edge = app.at_the_edge


class Injected(Exception):
    """A fault that was put in."""


class _Faulty:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] not in _SPARED:
            kind, *numbers = _in_force()
            if numbers and random.random() < float(numbers[0]):
                if kind == "errors":
                    raise Injected
                await asyncio.sleep(float(numbers[1]))
        await self._inner(scope, receive, send)


def _in_force() -> list[str]:
    return _FILE.read_text().split() or ["none"]


def _faulty_edge(*arguments: Any) -> Any:
    edge: Any = _at_the_edge(*arguments)
    edge._app, edge._sampled_app = _Faulty(edge._app), _Faulty(edge._sampled_app)
    return edge


app.at_the_edge = _faulty_edge  # type: ignore[assignment]  # of the same arguments, whatever they are
