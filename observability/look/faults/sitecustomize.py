"""Lets requests fail or wait, as a file says; for processes that have this folder on PYTHONPATH.

No production code knows of it. What fails fails inside of the application, so that the platform itself answers and
counts it. The file (LOOK_FAULTS) holds one line, or nothing:

    errors 0.05      this share of the requests ends in an exception
    errors 1 /book   so does this share of those whose path ends so
    slow 0.3 0.4     this share of the requests waits so many seconds
    block 0.6 0.2    the event loop is blocked for so many seconds, free for so many, and so on
"""

import asyncio
import functools
import os
import random
import time
from pathlib import Path
from typing import Any

from telemed.kernel.http import app

_FILE = Path(os.environ["LOOK_FAULTS"])
_SPARED = frozenset({"/livez", "/readyz", "/metrics"})
_LOOK_SECONDS = 0.5
_at_the_edge = app.at_the_edge


class Injected(Exception):
    """A fault that was put in."""


class _Faulty:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        _blocking()
        if scope["path"] not in _SPARED:
            kind, *numbers = _in_force()
            if kind in {"errors", "slow"} and random.random() < float(numbers[0]):
                if kind == "errors" and scope["path"].endswith(tuple(numbers[1:]) or ""):
                    raise Injected
                if kind == "slow":
                    await asyncio.sleep(float(numbers[1]))
        await self._inner(scope, receive, send)


@functools.cache
def _blocking() -> asyncio.Task[None]:
    """Begin to block once the loop runs, and once only."""
    return asyncio.create_task(_block())


async def _block() -> None:
    """Keep the event loop from its work for as long as the file says so."""
    while True:
        kind, *numbers = _in_force()
        if kind == "block":
            time.sleep(float(numbers[0]))  # noqa: ASYNC251 - this is the fault
        await asyncio.sleep(float(numbers[1]) if kind == "block" else _LOOK_SECONDS)


def _in_force() -> list[str]:
    return _FILE.read_text().split() or ["none"]


def _faulty_edge(*arguments: Any) -> Any:
    edge: Any = _at_the_edge(*arguments)
    edge._app, edge._sampled_app = _Faulty(edge._app), _Faulty(edge._sampled_app)
    edge.express, edge.straight = None, {}  # the short ways would lead past the faults: searches' and bookings'
    return edge


app.at_the_edge = _faulty_edge  # type: ignore[assignment]  # of the same arguments, whatever they are
