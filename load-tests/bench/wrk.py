"""Runs wrk, the generator that costs the least; without it our own does, which a fast server can saturate."""

import asyncio
import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.programs import find_program

from bench import wire
from bench.results import BenchProblem

_SCRIPT = """
local paths, requests, turn = {}, {}, 0
function init(args)
  for path in io.lines(args[1]) do requests[#requests + 1] = wrk.format("GET", path) end
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
function done(summary, latency, _)
  local e = summary.errors
  local lost = e.connect + e.read + e.write
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration, e.status, e.timeout, lost))
end
"""


@dataclass(frozen=True)
class Stretch:
    """How many requests were answered in how many seconds."""

    requests: int
    seconds: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds


def generator() -> str:
    """Name the generator that is used here."""
    return "wrk" if find_program("wrk") else "bench/wire.py (wrk is not installed: make bench-deps)"


async def saturate(port: int, paths: Sequence[str], *, connections: int, seconds: float) -> Stretch:
    """GET the paths in turn on each of so many connections.

    Raises:
        BenchProblem: an answer was none of success.
    """
    program = find_program("wrk")
    if program is None:
        requests = itertools.cycle([wire.get(path) for path in paths])
        tally = await wire.closed(port, requests, connections=connections, seconds=seconds)
        return Stretch(tally.require(200).requests, tally.seconds)
    with tempfile.TemporaryDirectory(prefix="telemed-wrk-") as name:
        script, list_of_paths = Path(name) / "turns.lua", Path(name) / "paths.txt"
        script.write_text(_SCRIPT)
        list_of_paths.write_text("\n".join(paths) + "\n")
        # wrk knows whole seconds only.
        length = max(1, round(seconds))
        command = (
            program,
            "-t1",
            "--timeout",
            "10s",
            f"-c{connections}",
            f"-d{length}s",
            "-s",
            script,
            f"http://127.0.0.1:{port}",
            "--",
            list_of_paths,
        )
        process = await asyncio.create_subprocess_exec(
            *(str(part) for part in command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output = (await process.communicate())[0].decode()
    line = next((line for line in output.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise BenchProblem(f"wrk failed: {output[-500:]}")
    requests_done, microseconds, refused, late, lost = (int(word) for word in line.split()[1:])
    if refused or late or lost or not requests_done:
        raise BenchProblem(f"of {requests_done} answers {refused} were none of success, {late} late, {lost} lost")
    return Stretch(requests_done, microseconds / 1e6)
