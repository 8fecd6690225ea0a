"""`python -m tests.twin.drills`: every drill once (the gate), a campaign, or a drill without its guard (`--help`)."""

import argparse
import asyncio
import logging
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from tests.support.programs import find_program
from tests.twin import warden
from tests.twin.drills.catalog import DRILLS, GATE, GUARDS
from tests.twin.drills.drill import Guard
from tests.twin.drills.footprint import footprint
from tests.twin.drills.results import Result, table, write
from tests.twin.drills.runner import run_drill
from tests.twin.services import SERVICES_FOLDER
from tests.twin.twin import Plan, Twin

# A visit may be started a whole day before: drills need no slots of the next quarter of an hour.
ENVIRONMENT = {"VISIT_OPENS_BEFORE_MINUTES": "1440"}
PATCHES = Path(__file__).parent / "patches"
_WARM_DRILLS = 3  # of a campaign, before memory is measured for the first time


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; 1 if any drill failed, or, with --expect-red, if any passed."""
    wanted = _parser().parse_args(arguments)
    for names, known in ((wanted.drills, DRILLS), (wanted.guard_off, GUARDS)):
        if not {*names.split()} <= known.keys():
            _say(f"Not among {' '.join(known)}: {names}\n")
            return 2
    if not all(map(find_program, ("pgbouncer", "haproxy"))):
        _say("PgBouncer and HAProxy are needed; `make twin-deps` installs them.\n")
        return 2
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    results = asyncio.run(_run(wanted))
    _say(table(results) + "\n")
    if wanted.expect_red:
        return 0 if results and not any(result.passed for result in results) else 1
    return 0 if results and all(result.passed for result in results) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.twin.drills", description=__doc__)
    parser.add_argument("--drills", default="", help=f"which ones, of: {' '.join(DRILLS)}")
    parser.add_argument("--seeds", default="", help="one run of the drills for each; at random if there is none")
    parser.add_argument("--minutes", type=float, default=0, help="a campaign: go on for so long, at random")
    parser.add_argument("--size", type=int, help="how much of a drill that is counted (primary-kills, contended, …)")
    parser.add_argument("--rate", type=float, help="arrivals a second, in place of each drill's own")
    parser.add_argument("--guard-off", default="", help=f"run the drill of each without it: {' '.join(GUARDS)}")
    parser.add_argument("--expect-red", action="store_true", help="succeed only if every drill fails")
    return parser


async def _run(wanted: argparse.Namespace) -> list[Result]:
    # The generator shares the warden's event loop and the machine: half a second late is not dead.
    warden.ANSWERS_WITHIN_SECONDS = 1.5
    seeds = [int(seed) for seed in wanted.seeds.split()] or [random.SystemRandom().randrange(10**6)]
    results: list[Result] = []
    for name in wanted.guard_off.split():
        guard = GUARDS[name]
        async with _twin(guard) as twin:
            for seed in seeds:
                results.append(await _one(twin, guard.drill, seed, wanted, guard))
                results[-1].drill += f" without {name}"
                write(results)
    if wanted.guard_off:
        return results
    async with _twin(None) as twin:
        names = wanted.drills.split() or list(GATE)
        await (_campaign if wanted.minutes else _gate)(twin, names, seeds, wanted, results)
    return results


async def _gate(
    twin: Twin, names: Sequence[str], seeds: Sequence[int], wanted: argparse.Namespace, results: list[Result]
) -> None:
    for seed in seeds:
        for name in names:
            results.append(await _one(twin, name, seed, wanted))
            write(results)


async def _campaign(
    twin: Twin, names: Sequence[str], seeds: Sequence[int], wanted: argparse.Namespace, results: list[Result]
) -> None:
    """Run drills at random until the time is over; memory and connections must be flat."""
    ends, first = time.monotonic() + 60 * wanted.minutes, None
    for place, (name, seed) in enumerate(_at_random(names, seeds)):
        if time.monotonic() > ends:
            break
        if place == _WARM_DRILLS:
            first = await footprint(twin)
            _say(f"at first {first}\n")
        results.append(await _one(twin, name, seed, wanted))
        write(results)
    if first is not None:
        last = await footprint(twin)
        grown = first.grown_to(last)
        _say(f"at last {last}\n")
        results.append(Result("footprint", seeds[0], hits=len(last.bytes_of), passed=not grown, reasons=grown))
        write(results)


def _at_random(names: Sequence[str], seeds: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Give the drills in ever new orders, each with a seed of its own; the same for the same seeds."""
    chance = random.Random(" ".join(map(str, seeds)))  # noqa: S311 - to be repeated, not to be secret
    while True:
        for name in chance.sample(names, len(names)):
            yield name, chance.randrange(10**6)


async def _one(twin: Twin, name: str, seed: int, wanted: argparse.Namespace, guard: Guard | None = None) -> Result:
    is_long, drill = bool(wanted.minutes), DRILLS[name]
    if wanted.rate:
        drill = replace(drill, per_second=wanted.rate)
    result = await run_drill(twin, drill, seed, size=wanted.size, is_long=is_long, guard=guard)
    _say(table([result]).split("\n", 1)[1] + "\n")
    return result


@asynccontextmanager
async def _twin(guard: Guard | None) -> AsyncIterator[Twin]:
    started = time.monotonic()
    environment: Mapping[str, str] = dict(ENVIRONMENT)
    if guard is not None and guard.patch is not None:
        path = os.pathsep.join((str(PATCHES / guard.patch), str(SERVICES_FOLDER)))
        environment = {**environment, "PYTHONPATH": path}
    plan = Plan(environment=environment, guards=guard.postgres if guard is not None else {})
    async with Twin.start(plan) as twin:
        _say(f"the twin is up after {time.monotonic() - started:.0f} s\n")
        yield twin


def _say(*texts: str) -> None:
    for text in texts:
        sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
