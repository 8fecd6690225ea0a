"""What the runbooks tell somebody to look for in logs is found in lines as the processes write them."""

import shlex
import subprocess
import sys

import pytest
from tests.observability.runbooks.pages import all_blocks

_ANSWERED = """
import asyncio, time
from telemed.kernel.telemetry.context import begin_trace
from telemed.kernel.telemetry.logs import configure_logs, log_request

configure_logs(level="INFO", service="booking")

async def main():
    for route, seconds in (("/quick", 0.0099), ("/slow", 0.5485), ("/{one}/two", 0.0123), ("/a", 0.0021)):
        trace = begin_trace(traceparent=None, request_id=None)
        log_request(("request.answered", trace, "GET", route, "200", "http", seconds, time.time()))

asyncio.run(main())
"""


def reads_of_logs() -> list[tuple[str, str]]:
    """Return (page, command) of every `kubectl … logs` that somebody is told to type."""
    lines = [(page, line.strip()) for page, block in all_blocks("console") for line in block.splitlines()]
    return [(page, line.removeprefix("$ ")) for page, line in lines if " logs " in line]


@pytest.mark.parametrize(("page", "command"), [one for one in reads_of_logs() if "--selector" in one[1]])
def test_logs_of_several_pods_say_how_much(page: str, command: str) -> None:
    """Unless it is told, kubectl shows ten lines of each pod that a selector finds, whatever `--since` says."""
    assert any(word.startswith("--tail=") for word in shlex.split(command)), page
    assert "| grep" not in command or "--tail=-1" in command, page


def test_the_slowest_requests_are_found() -> None:
    """The largest number comes last, not the one with the largest first digit."""
    lines = subprocess.run([sys.executable, "-c", _ANSWERED], capture_output=True, text=True, check=True, timeout=60)
    (command,) = [line for page, line in reads_of_logs() if page == "event-loop-blocked"]
    _, _, filters = command.partition(" | ")
    found = subprocess.run(["sh", "-c", filters], input=lines.stdout, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["2.1 /a", "9.9 /quick", "12.3 /{one}/two", "548.5 /slow"]
