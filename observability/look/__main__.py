"""`python -m observability.look observe | faults`: see an alert come and go on this machine."""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from pathlib import Path

from observability.look.receiver import Call
from observability.look.report import keep, table
from observability.look.scenario import Outcome, Watch
from observability.look.stack import Missing, Stack, started
from observability.look.table import ERRORS, FAULTS, Fault
from observability.look.traffic import flowing

RESULTS = Path(__file__).parent / "results" / "latest.json"
# Traffic before anything goes wrong: the rates of a process that has just begun say little.
_QUIET_SECONDS = 60.0
# A ticket may wait a quarter of an hour before it is told of; here nobody wants to watch for so long.
_TICKETS_SOONER = 10


def main() -> int:
    """Run what the command line asks for; exit code 1: an alert did not do what it must, 2: something is missing."""
    parser = argparse.ArgumentParser(prog="observability.look", description=__doc__)
    parser.add_argument("command", choices=["observe", "faults"])
    parser.add_argument("--only", nargs="*", choices=sorted(FAULTS), help="Of the faults, these.")
    parser.add_argument("--rate", type=float, default=30.0, help="Requests a second.")
    parser.add_argument("--quiet-seconds", type=float, default=_QUIET_SECONDS)
    parser.add_argument("--stay", action="store_true", help="Go on afterwards, until Ctrl-C.")
    parser.add_argument("--results", type=Path, help=f"Keep what came of it here; `faults` does in {RESULTS.name}.")
    arguments = parser.parse_args()
    faults, sooner = [ERRORS], 1
    if arguments.command == "faults":
        faults, sooner = [one for one in FAULTS.values() if one.name in (arguments.only or FAULTS)], _TICKETS_SOONER
        arguments.results = arguments.results or RESULTS
    if sooner > 1:
        print(f"Pages wait as long as they do in production; tickets come {sooner} times sooner than they would.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # an end in order, as after Ctrl-C
    try:
        outcomes = [_on_a_platform_of_its_own(fault, arguments, sooner) for fault in faults]
    except Missing as missing:
        sys.stderr.write(f"observe: {missing}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    print(f"\n{table(outcomes)}", flush=True)
    return 0 if all(outcome.held for outcome in outcomes) else 1


def _on_a_platform_of_its_own(fault: Fault, arguments: argparse.Namespace, sooner: int) -> Outcome:
    """Start everything anew: windows of half an hour would hold the fault before against this one."""
    with tempfile.TemporaryDirectory(prefix="telemed-look-") as folder, started(Path(folder), sooner) as stack:
        outcome = asyncio.run(look(stack, fault, arguments))
    if arguments.results:
        keep([outcome], arguments.results, sooner)
    return outcome


async def look(stack: Stack, fault: Fault, arguments: argparse.Namespace) -> Outcome:
    """Let traffic flow, put the fault in, and tell what comes of it as it comes."""
    begun = time.monotonic()

    def say(words: str) -> None:
        print(f"{time.monotonic() - begun:6.0f} s  {words}", flush=True)

    def called(call: Call) -> None:
        if call.receiver != "watchdog":
            say(f"{call.receiver.upper()} {'for' if call.is_firing else 'over:'} {call.alert}: {call.summary}")

    stack.calls.on_call = called
    say(f"platform {stack.apis()[0]}, Prometheus {stack.prometheus}, Alertmanager {stack.alertmanager}")
    async with flowing(stack.apis, arguments.rate) as traffic:
        watch = Watch(stack, traffic, say)
        say(f"{arguments.rate:.0f} requests a second, nothing wrong for {arguments.quiet_seconds:.0f} s")
        await asyncio.sleep(arguments.quiet_seconds)
        say(await watch.state())
        outcome = await watch.suffer(fault)
        answers = dict(sorted(traffic.answers.items()))
        say(f"answers: {answers}, none: {traffic.unanswered}, arrivals left out: {traffic.left_out}")
        if arguments.stay:
            print(table([outcome]), flush=True)
            say("going on; Ctrl-C stops all of it")
            await asyncio.Event().wait()
    return outcome


if __name__ == "__main__":
    raise SystemExit(main())
