"""The command line of the benchmarks."""

import argparse
import dataclasses
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvloop

from bench import results, stage
from bench.booking import booking, booking_through_pooler
from bench.cached_search import cached_search
from bench.concurrency import concurrency
from bench.growth import growth
from bench.logins import login_storm
from bench.processes import processes
from bench.results import Absent, Result, not_measured
from bench.scene import TINY, Bench, Size, begun
from bench.stampede import stampede
from bench.uncached_search import uncached_search
from bench.without_redis import without_redis
from dataset.plan import parsed_size

TARGET = stage.ROOT / "load-tests" / "results" / "bench-latest.json"
# In this order: the small data set first, and what writes after what reads.
BENCHES: dict[str, Callable[[Bench], Awaitable[list[Result]]]] = {
    "cached-search": cached_search,
    "uncached-search": uncached_search,
    "booking": booking,
    "pooler": booking_through_pooler,
    "stampede": stampede,
    "concurrency": concurrency,
    "growth": growth,
    "login-storm": login_storm,
    "without-redis": without_redis,
    "processes": processes,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is wanted, print the table, write the file."""
    parser = argparse.ArgumentParser(prog="python load-tests/bench", description=__doc__)
    parser.add_argument("--only", default="", help=f"Some of these, with commas: {', '.join(BENCHES)}.")
    parser.add_argument("--biggest", default="1e6", help="Slots of the big data set; 1e7 takes ten minutes to load.")
    parser.add_argument("--tiny", action="store_true", help="To see that it works, not to learn anything.")
    parser.add_argument(
        "--same", action="store_true", help="Everything off in both: what comparing is worth; see --only cached-search."
    )
    parser.add_argument("--out", type=Path, default=TARGET, help="File to write.")
    options = parser.parse_args(arguments)
    names = [name for name in options.only.replace(",", " ").split() if name] or list(BENCHES)
    if unknown := set(names) - set(BENCHES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; choose from {', '.join(BENCHES)}")
    size = TINY if options.tiny else dataclasses.replace(Size(), big=parsed_size(options.biggest))
    size = dataclasses.replace(size, same=options.same)
    found = uvloop.run(run(names, size))
    words = (
        [f"--only {','.join(names)}"] * bool(options.only)
        + [f"--biggest {options.biggest}"]
        + ["--tiny"] * options.tiny
    )
    facts = stage.facts(f"python load-tests/bench {' '.join(words)}")
    print(results.table(found))
    print(", ".join(f"{name}: {fact}" for name, fact in facts.items()))
    results.write(found, facts, options.out)
    return results.exit_code(found)


async def run(names: Sequence[str], size: Size) -> list[Result]:
    """Run these benchmarks; what goes wrong in one is told in its place."""
    found: list[Result] = []
    async with begun(size) as bench:
        for name in names:
            print(f"{name} …", flush=True)
            started = time.monotonic()
            try:
                found += await BENCHES[name](bench)
            except Absent as absent:
                found.append(not_measured(name, "at least", None, because=str(absent)))
            except Exception as problem:  # noqa: BLE001 - told in its place; the others go on
                found.append(not_measured(name, "at least", None, because=f"error: {problem}"))
            sys.stdout.write(f"{name}: {time.monotonic() - started:.0f} s\n")
    return found
