"""What telemetry costs: capacity of cached search with everything on against everything off, in one run.

On: metrics, a tenth of the requests traced and sent to a collector (a small one of our own that takes them), JSON logs.
Off: nothing is counted, traced or logged. Two processes are there all the time and are measured in turn, many times.
The ratio is that of the CPU time which a request takes, which others on the machine disturb least; the throughput of
a saturated process stands beside it.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stage import ROOT, commit, cpu_seconds, ground
from tests.support.clinic import Clinic
from tests.support.people import People
from tests.support.platform import SERVICES_FOLDER, TelemedProcess

from telemed.kernel.clock import SystemClock

TARGET = ROOT / "load-tests" / "results" / "telemetry-latest.json"
CONNECTIONS = 16  # enough to keep one process busy
REQUEST = b"GET /booking/slots/search?limit=20 HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\n\r\n"
WANTED = 0.85  # of the capacity is to be left with everything on


@dataclass(frozen=True)
class Round:
    """One stretch of one process under load."""

    mode: str
    requests: int
    seconds: float
    cpu_ms: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


async def main() -> int:
    """Measure, print, write the result; exit code 1 if telemetry costs more than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="Of each of the two.")
    parser.add_argument("--seconds", type=float, default=4.0, help="Of one round.")
    arguments = parser.parse_args()
    rounds: list[Round] = []
    async with both() as (on, off):
        for number in range(arguments.rounds + 1):
            for mode, process in (("on", on), ("off", off)):
                done = await measured(mode, process, arguments.seconds)
                if number:  # the first one warms up
                    rounds.append(done)
                    print(f"{mode:4} {done.rate:8.0f} requests/s {done.cpu_ms:8.3f} ms of CPU a request", flush=True)
    return report(rounds)


@asynccontextmanager
async def both() -> AsyncIterator[tuple[TelemedProcess, TelemedProcess]]:
    """Two booking services on one database and one cache, with slots to find."""
    collector = await asyncio.start_server(_take, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{collector.sockets[0].getsockname()[1]}"
    silenced = f"{Path(__file__).parent / 'silenced'}{os.pathsep}{SERVICES_FOLDER}"
    async with ground() as on_ground:
        running = on_ground.running
        await running.serve("auth")
        (on,) = await running.serve("booking", OTEL_EXPORTER_OTLP_ENDPOINT=address, TRACE_SAMPLE_RATIO="0.1")
        (off,) = await running.serve("booking", PYTHONPATH=silenced, LOG_LEVEL="ERROR")
        people = People(running.client, on_ground.database.owner, on_ground.settings, SystemClock())
        clinic = Clinic(people, datetime.now(UTC) + timedelta(days=1))
        await clinic.slots(await clinic.doctor(), 40, starts_at=datetime.now(UTC) + timedelta(hours=2))
        if (os.cpu_count() or 1) > 1:  # a core for who is measured, the rest for who asks
            for process in (on, off):
                os.sched_setaffinity(process.running.process.pid, {0})
            os.sched_setaffinity(0, set(range(1, os.cpu_count() or 2)))
        yield on, off
    collector.close()


async def measured(mode: str, process: TelemedProcess, seconds: float) -> Round:
    """Keep the process saturated for a while."""
    pid = process.running.process.pid
    ends_at = time.monotonic() + seconds
    begun, spent = time.monotonic(), cpu_seconds(pid)
    counts = await asyncio.gather(*(_ask(process.port or 0, ends_at) for _ in range(CONNECTIONS)))
    took, used = time.monotonic() - begun, cpu_seconds(pid) - spent
    return Round(mode, sum(counts), took, 1000 * used / sum(counts))


async def _ask(port: int, ends_at: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    done = 0
    while time.monotonic() < ends_at:
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
        done += 1
    writer.close()
    return done


async def _take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Be a collector that takes everything."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def report(rounds: list[Round]) -> int:
    """Print the ratios and write them with date, commit and machine."""
    cpu = {mode: statistics.median(one.cpu_ms for one in rounds if one.mode == mode) for mode in ("on", "off")}
    rate = {mode: statistics.median(one.rate for one in rounds if one.mode == mode) for mode in ("on", "off")}
    kept, throughput = cpu["off"] / cpu["on"], rate["on"] / rate["off"]
    print(f"capacity kept: {kept:.3f} by CPU time, {throughput:.3f} by throughput; wanted: {WANTED}")
    result = {
        "name": "telemetry on, cached search",
        "floor": "everything off",
        "value": round(cpu["on"], 4),
        "unit": "ms of CPU a request",
        "ratio": round(kept, 3),
        "throughput_ratio": round(throughput, 3),
        "target": WANTED,
        "met": min(kept, throughput) >= WANTED,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "load_average": round(os.getloadavg()[0], 1),
        "command": "python load-tests/bench/telemetry.py",
        "rounds": [asdict(one) for one in rounds],
    }
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if result["met"] else 1


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
