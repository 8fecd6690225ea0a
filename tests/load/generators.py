"""Runs the real generator, Locust and all, in processes of its own against the stub."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from telemed.local.processes import wait_until
from telemed_load.job import Job
from telemed_load.measurements import Measurements
from telemed_load.people import Population
from telemed_load.profile import Mix, Profile
from telemed_load.run import Options, generate
from telemed_load.shapes import Schedule

STUB = Path(__file__).with_name("stub.py")

MIX: dict[str, Any] = {
    "think": {"at_least_seconds": 0.5, "mean_seconds": 0.8},
    "search": {
        "chooses_day_share": 0,
        "chooses_doctor_share": 0,
        "chooses_language_share": 0,
        "days_ahead": 14,
        "limit": 20,
    },
    "login_share": 0,
    "refresh_share": 0,
    "chooses_among": 20,
    "tries_to_book": 1,
    "journeys": {"visitor": {"who": "nobody", "per_consultation": 1, "steps": [{"do": "search"}]}},
}
# Limits that no machine of a test suite, however busy, is beyond: what is shown here is something else.
GENERATOR: dict[str, Any] = {
    "hands": 400,
    "start_within_seconds": 5.0,
    "request_timeout_seconds": 10,
    "cpu_ratio_at_most": 1.0,
    "lag_seconds_at_most": 60,
    "bad_seconds_ratio_at_most": 1.0,
    "sent_ratio_at_least": 0.9,
    "booked_ratio_at_least": 0,
}
NOBODY = Population([], [], [], [], ["Cardiology"], ["en"], 0.0, "nobody")


def schedule(rate: float, seconds: float, **generator: Any) -> Schedule:
    """Give a steady load of searches."""
    profile = Profile.model_validate(
        {
            "title": "Searches",
            "shape": {"kind": "steady", "requests_per_second": rate, "seconds": seconds},
            "seed": 4,
            "warm_up_seconds": 0,
            "gates": ["availability", "reads-latency"],
            "people": {"patients": 1, "doctors": 1, "slots": 0},
            "generator": GENERATOR | generator,
        }
    )
    return Schedule(profile, Mix.model_validate(MIX), 1.0)


@contextmanager
def stub(folder: Path, *options: str) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Lend a stub's address, and its process."""
    port = folder / "port"
    process = subprocess.Popen([sys.executable, str(STUB), str(port), *options])
    try:
        assert wait_until(port.exists, 20)
        yield f"http://127.0.0.1:{port.read_text()}", process
    finally:
        process.kill()
        process.wait()


def generated(folder: Path, plan: Schedule, url: str, *, workers: int = 0, people: Population = NOBODY) -> Measurements:
    """Let the generator do the load, and give what it measured."""
    result, file = folder / "measured.json", folder / "job.json"
    Job(plan, people, url, [f"{url}/metrics"], str(result)).write(file)
    options = Options("searches", url, None, [], folder, workers, 0, None)
    begun = time.monotonic()
    generate(options, plan.profile, file, folder)
    assert result.exists(), (time.monotonic() - begun, (folder / "locust.log").read_text())
    return Job.read_result(result)
