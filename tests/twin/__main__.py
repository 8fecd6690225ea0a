"""`python -m tests.twin up | kill WHAT [HOW] | status`: the twin to play with, and to break by hand."""

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Callable, Sequence

from tests.support.programs import find_program
from tests.twin.member import send
from tests.twin.state import Row, State, forget_state, read_state, state_of, write_state
from tests.twin.twin import Plan, Twin

from telemed.local.demo.accounts import DEMO_PASSWORD, demo_accounts
from telemed.local.demo.welcome import journey
from telemed.local.problems import LocalProblem

LOOKS_EVERY_SECONDS = 0.3
WAYS = ("kill", "stop", "cont", "term", "restart")
HINTS = {
    "primary": "a replica is promoted within a second (four if it hangs); writes get 503, reads go on",
    "replica": "reads go on, from the others; a commit needs one of the two replicas: with both gone it waits",
    "pooler-rw": "writes get 503 with Retry-After until it is back; searches go on",
    "pooler-ro": "reads that tolerate a replica go to the primary",
    "redis": "searches get slower and go on; with all six gone as well",
    "gateway": "nobody gets in until it is back",
    "worker": "events and the audit chain go on in the other worker; both gone: they wait, nothing is lost",
    "service": "its other process takes over; what it was doing gets 502, and a GET is sent again by the gateway",
}


def main(arguments: Sequence[str]) -> int:
    """Do one of the three; give the exit code."""
    commands: dict[str, Callable[[], int]] = {"up": _up, "status": _status}
    match list(arguments):
        case [name] if name in commands:
            return commands[name]()
        case ["kill", what]:
            return _kill(what, "kill")
        case ["kill", what, how]:
            return _kill(what, how)
        case ["kill"]:
            return _kill("", "kill")
    _say(__doc__ or "")
    return 2


def _up() -> int:
    missing = [name for name in ("pgbouncer", "haproxy") if find_program(name) is None]
    if missing:
        _fail(f"{' and '.join(missing)} not installed; `make twin-deps` installs what the twin needs.")
        return 1
    if read_state() is not None:
        _fail("A twin of this checkout is running already: stop it first, with Ctrl-C.")
        return 1
    logging.basicConfig(format="%(asctime)s  %(message)s", datefmt="%H:%M:%S", stream=sys.stdout, level=logging.WARNING)
    try:
        asyncio.run(_stay())
    except asyncio.CancelledError:
        pass
    except (AssertionError, LocalProblem) as problem:
        _fail(f"The twin did not start. {problem}")
        return 1
    finally:
        forget_state()
    _say("Stopped; nothing is left.")
    return 0


async def _stay() -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    begun = time.monotonic()
    _say("Starting PostgreSQL, Redis, PgBouncer, the services and the gateway …")
    async with Twin.start(Plan()) as twin:
        code, output = await twin.command("seed")
        assert code == 0, output
        state = state_of(twin)
        write_state(state)
        _say(f"\n{state.table()}\n\n{_welcome(twin)}\n\nReady in {time.monotonic() - begun:.0f} s. Stop: Ctrl-C\n")
        with contextlib.suppress(asyncio.CancelledError):
            await _tell_changes(twin, state)
        _say("Stopping …")


async def _tell_changes(twin: Twin, last: State) -> None:
    """Keep the file true: roles and process numbers change."""
    while True:
        await asyncio.sleep(LOOKS_EVERY_SECONDS)
        state = state_of(twin)
        if state != last:
            write_state(state)
            last = state


def _status() -> int:
    state = read_state()
    if state is None:
        _fail("No twin is running here: make twin")
        return 1
    _say(f"{state.table()}\n\n{state.gateway}   --cacert {state.ca_file}\nLogs: {state.folder}")
    return 0


def _kill(what: str, how: str) -> int:
    state = read_state()
    if state is None:
        _fail("No twin is running here: make twin")
        return 1
    rows = state.named(what)
    if not rows or how not in WAYS:
        _fail(f"WHAT is one of: {', '.join(state.names())}.\nHOW is one of: {', '.join(WAYS)} (kill if not given).")
        return 2
    for row in rows:
        _say(_hit(row, how))
    _say(f"Watch: {_hint(rows[0])}.\nWho runs where: make twin-status")
    return 0


def _hit(row: Row, how: str) -> str:
    if row.pid is None or row.condition == "ended":
        return f"{row.name} is not running at this moment."
    polite = signal.Signals(row.stop_signal)
    number = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "cont": signal.SIGCONT}.get(how, polite)
    send(row.pid, number, whole_family=number is not polite)
    place = f" ({row.role})" if row.role not in row.name else ""
    return f"{number.name} to {row.name}{place}, process {row.pid}, {row.address or 'no address'}."


def _hint(row: Row) -> str:
    return next((text for key, text in HINTS.items() if key in row.role or key in row.name), HINTS["service"])


def _welcome(twin: Twin) -> str:
    accounts = "\n".join(f"  {one.role:<8} {one.email:<20} {one.full_name}" for one in demo_accounts())
    lines = journey(twin.gateway_url).replace("curl -s ", f"curl -s --cacert '{twin.ca_file}' ")
    return f"""\
Gateway    {twin.gateway_url}
Logs       {twin.folder}

Demo accounts, all with the password: {DEMO_PASSWORD}
{accounts}

Log in, find a slot, book it, look at the visit (bash or zsh):

{lines}

Break it, from another terminal:   make twin-kill WHAT=primary
                                   make twin-kill WHAT=booking-1 HOW=stop      (kill, stop, cont, term, restart)"""


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _fail(text: str) -> None:
    sys.stderr.write(f"twin: {text}\n")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
