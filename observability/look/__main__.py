"""`python -m observability.look observe | faults`: see an alert come and go on this machine."""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from observability.look.scenario import ERRORS, FAULTS, Fault, Outcome, state, suffer
from observability.look.stack import Missing, Stack, started
from observability.look.traffic import flowing

RESULTS = Path(__file__).parent / "results" / "latest.json"
# Traffic before anything goes wrong: the rates of a process that has just begun say little.
_QUIET_SECONDS = 60.0


def main() -> int:
    """Run what the command line asks for; exit code 1: an alert did not do what it must, 2: something is missing."""
    parser = argparse.ArgumentParser(prog="observability.look", description=__doc__)
    parser.add_argument("command", choices=["observe", "faults"])
    parser.add_argument("--only", nargs="*", choices=sorted(FAULTS), help="Of the faults, these.")
    parser.add_argument("--rate", type=float, default=30.0, help="Requests a second.")
    parser.add_argument("--quiet-seconds", type=float, default=_QUIET_SECONDS)
    parser.add_argument("--stay", action="store_true", help="Go on afterwards, until Ctrl-C.")
    arguments = parser.parse_args()
    faults = [ERRORS] if arguments.command == "observe" else [FAULTS[name] for name in arguments.only or FAULTS]
    try:
        with tempfile.TemporaryDirectory(prefix="telemed-look-") as folder, started(Path(folder)) as stack:
            return asyncio.run(look(stack, faults, arguments))
    except Missing as missing:
        sys.stderr.write(f"observe: {missing}\n")
        return 2
    except KeyboardInterrupt:
        return 130


async def look(stack: Stack, faults: list[Fault], arguments: argparse.Namespace) -> int:
    """Let traffic flow, put one fault in after the other, and say what came of them."""
    begun = time.monotonic()

    def say(words: str) -> None:
        print(f"{time.monotonic() - begun:6.0f} s  {words}", flush=True)

    say(f"platform {stack.api}, Prometheus {stack.prometheus}, Alertmanager {stack.alertmanager}")
    async with flowing(stack.api, arguments.rate) as traffic:
        say(f"{arguments.rate:.0f} requests a second, nothing wrong for {arguments.quiet_seconds:.0f} s")
        await asyncio.sleep(arguments.quiet_seconds)
        say(await asyncio.to_thread(state, stack, traffic))
        outcomes = [await suffer(stack, traffic, fault, say) for fault in faults]
        say(f"answers: {dict(sorted(traffic.answers.items()))}, arrivals left out: {traffic.left_out}")
        report(outcomes)
        if arguments.stay:
            say("going on; Ctrl-C stops all of it")
            await asyncio.Event().wait()
    return 0 if all(outcome.held for outcome in outcomes) else 1


def report(outcomes: list[Outcome]) -> None:
    """Print a line for each fault, and keep them."""
    for one in outcomes:
        called = "never" if one.called_after_seconds is None else f"{one.called_after_seconds:.0f} s"
        over = "never" if one.over_after_seconds is None else f"{one.over_after_seconds:.0f} s"
        others = f", but also {', '.join(one.others)}" if one.others else ""
        verdict = "held  " if one.held else "FAILED"
        print(f"{verdict} {one.fault:8} {one.expected}: called after {called}, over after {over}{others}")
    RESULTS.parent.mkdir(exist_ok=True)
    kept = {"date": datetime.now(UTC).date().isoformat(), "outcomes": [asdict(one) for one in outcomes]}
    RESULTS.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
