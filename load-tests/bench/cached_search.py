"""Cached search against a bare ASGI application that returns the same bytes, with everything on and everything off.

On: as in every other benchmark (`Bench.serve`). Off: nothing is counted, traced or logged. Groups of fresh processes
are measured in turn: two processes of one program differ by up to a tenth, as their memory and hashes lie differently.
"""

import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from urllib.parse import quote

from tests.support.platform import SERVICES_FOLDER

from bench import wire, wrk
from bench.floor_process import floor_process
from bench.results import Result
from bench.scene import Bench
from bench.stage import Ground, cpu_seconds, serve_pinned
from dataset.cast import SPECIALIZATIONS
from dataset.plan import current_instant
from telemed.kernel.text import rfc3339

CONNECTIONS = 32
QUERIES = 200
OFF = {
    "PYTHONPATH": f"{Path(__file__).parent / 'silenced'}{os.pathsep}{SERVICES_FOLDER}",
    "LOG_LEVEL": "ERROR",
    "TRACE_SAMPLE_RATIO": "0",
}
_MODES = ("bare", "on", "off")
_TARGETS = {"on": 0.40, "off": 0.55}
_KEPT = 0.85


@dataclass(frozen=True)
class Round:
    """One stretch of one process under load."""

    group: int
    mode: str
    queries: int
    rate: float
    cpu_ms: float


@dataclass(frozen=True)
class Subject:
    """A process that is measured."""

    pid: int
    port: int


async def cached_search(bench: Bench) -> list[Result]:
    """Measure one hot query, and many."""
    small = await bench.small()
    sets = {1: hot_queries(1), QUERIES: hot_queries(QUERIES)}
    rounds: list[Round] = []
    for group in range(bench.size.groups):
        async with _group(bench, small, [*sets[1], *sets[QUERIES]]) as subjects:
            for number in range(bench.size.rounds):
                # In turn also who goes first: whoever does finds a cooler core.
                order = _MODES if (group + number) % 2 else _MODES[::-1]
                rounds += [await _measured(bench, group, mode, subjects, 1, sets[1]) for mode in order]
            order = _MODES if group % 2 else _MODES[::-1]
            rounds += [await _steady(bench, group, mode, subjects, sets[QUERIES]) for mode in order]
    return results(rounds)


def hot_queries(count: int) -> list[str]:
    """Give searches as people make them: of one field, of one day; the first one asks for everything."""
    if count == 1:
        return ["/booking/slots/search?limit=20"]
    tomorrow = current_instant().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    days = -(-count // len(SPECIALIZATIONS))
    paths = [
        f"/booking/slots/search?specialization={quote(name)}&from={rfc3339(tomorrow + timedelta(days=day))}"
        for day in range(days)
        for name in SPECIALIZATIONS
    ]
    return paths[:count]


@asynccontextmanager
async def _group(bench: Bench, lent: Ground, paths: list[str]) -> AsyncIterator[dict[str, Subject]]:
    """Start one process of each kind; the floor is told the answers of the one that has everything on."""
    with_all = await (serve_pinned(lent.running, "booking", **OFF) if bench.size.same else bench.serve(lent, "booking"))
    without = await serve_pinned(lent.running, "booking", **OFF)
    assert with_all.port
    assert without.port
    # Asked of both: so the pages are there, and both are warm.
    answers = await _answers(with_all.port, paths)
    await _answers(without.port, paths)
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({path.partition("?")[2]: body for path, body in answers.items()}, file)
            file.flush()
            async with floor_process(lent.servers, "bare.py", file.name) as (floor, port):
                yield {
                    "bare": Subject(floor.pid, port),
                    "on": Subject(with_all.running.pid, with_all.port),
                    "off": Subject(without.running.pid, without.port),
                }
    finally:
        for process in (with_all, without):
            await lent.running.stop(process)


async def _answers(port: int, paths: list[str]) -> dict[str, str]:
    answers: dict[str, str] = {}
    for path in paths:
        tally = await wire.closed(port, iter([wire.get(path)]), connections=1)
        answers[path] = tally.require(200).last_body.decode()
    return answers


async def _measured(
    bench: Bench,
    group: int,
    mode: str,
    subjects: dict[str, Subject],
    queries: int,
    paths: list[str],
    seconds: float | None = None,
) -> Round:
    subject = subjects[mode]
    spent = cpu_seconds(subject.pid)
    stretch = await wrk.saturate(subject.port, paths, connections=CONNECTIONS, seconds=seconds or bench.size.seconds)
    return Round(group, mode, queries, stretch.rate, 1000 * (cpu_seconds(subject.pid) - spent) / stretch.requests)


async def _steady(bench: Bench, group: int, mode: str, subjects: dict[str, Subject], paths: list[str]) -> Round:
    """Measure many queries for as long as a page is fresh, after those that are due have been loaded.

    While others were measured, all pages became due at once, which no traffic does; in the stretch that counts each of
    them becomes due once, as in life.
    """
    await wrk.saturate(subjects[mode].port, paths, connections=CONNECTIONS, seconds=bench.size.warm_seconds)
    return await _measured(bench, group, mode, subjects, len(paths), paths, seconds=bench.size.steady_seconds)


def results(rounds: list[Round]) -> list[Result]:
    """Put the rounds into figures; the same samples serve all of them."""
    made: list[Result] = []
    for queries in sorted({one.queries for one in rounds}):
        of = {mode: [one for one in rounds if one.mode == mode and one.queries == queries] for mode in _MODES}
        words = "one hot query" if queries == 1 else f"{queries} hot queries"
        for mode, target in _TARGETS.items():
            name = f"cached search, {words}, everything {mode}"
            made.append(_against(name, of[mode], of["bare"], "bare ASGI application on uvicorn, same bytes", target))
        name = f"cached search, {words}, on against off"
        made.append(_against(name, of["on"], of["off"], "everything off", _KEPT))
    return made


def _against(name: str, value: list[Round], floor: list[Round], floor_is: str, target: float) -> Result:
    cpu = median(one.cpu_ms for one in floor) / median(one.cpu_ms for one in value)
    return Result(
        name, floor_is, "requests/s", "at least", target,
        floors=tuple(one.rate for one in floor), values=tuple(one.rate for one in value), also={"by CPU time": cpu},
        notes={
            "generator": wrk.generator(),
            "connections": CONNECTIONS,
            "cpu_ms": {"floor": median(one.cpu_ms for one in floor), "value": median(one.cpu_ms for one in value)},
            "groups": len({one.group for one in value}),
        },
    )  # fmt: skip
