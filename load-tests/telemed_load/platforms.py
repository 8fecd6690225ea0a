"""Finds the platform that is to be loaded, or starts one in a folder of its own and stops it at the end."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from telemed.local.processes import free_port
from telemed_load.problems import LoadProblem
from telemed_load.profile import Profile
from telemed_load.wording import say

DEFAULT_URL = "http://localhost:3000"
ROOT = Path(__file__).parents[2]
READY_WITHIN_SECONDS = 180.0
STOPS_WITHIN_SECONDS = 60.0
SLOTS_A_DOCTOR = 1000  # of a data set (load-tests/dataset/plan.py), which is how many doctors are asked for


@dataclass(frozen=True)
class Target:
    """Where the load goes."""

    url: str
    secret: Path | None  # a file with the platform's addresses and secrets, if it was given
    described: str
    is_ours: bool = False  # started for this run, by this process


@contextmanager
def target(url: str | None, secret: Path | None, profile: Profile) -> Iterator[Target]:
    """Lend the platform at the address; without an address that of `make run`, or else one of our own.

    Raises:
        LoadProblem: nothing answers at the address that was given, or our own does not start.
    """
    if url is not None or is_answering(DEFAULT_URL):
        where = url or DEFAULT_URL
        if not is_answering(where):
            raise LoadProblem(f"No platform answers at {where}.")
        yield Target(where.rstrip("/"), secret, f"the platform at {where}")
        return
    say(f"Nothing answers at {DEFAULT_URL}: starting a platform of its own.")
    with _own_platform(profile) as own:
        yield own


def is_answering(url: str) -> bool:
    """Tell whether a Telemed answers there."""
    try:
        reply = httpx.get(f"{url.rstrip('/')}/booking/slots/search", params={"limit": "1"}, timeout=5)
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    try:
        page = reply.json()
    except ValueError:
        return False
    return reply.status_code == 200 and isinstance(page, dict) and "items" in page


@contextmanager
def _own_platform(profile: Profile) -> Iterator[Target]:
    folder = Path(tempfile.mkdtemp(prefix="telemed-load-"))
    folder.chmod(0o755)  # the account of the servers must pass through it
    home, port = folder / "home", free_port()
    # Nothing of the caller's environment may lead it to another database.
    elsewhere = ("_URL", "_URLS", "_HOST", "_PORT")
    environment = {name: value for name, value in os.environ.items() if not name.endswith(elsewhere)}
    environment |= {
        "TELEMED_HOME": str(home),
        # A load of minutes has visits of the whole day in it.
        "VISIT_OPENS_BEFORE_MINUTES": str(24 * 60),
    }
    with (folder / "platform.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "telemed.cli", "run", "--port", str(port)],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches us alone, and we stop it in order
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(process, url, folder / "platform.log")
        secret = home / "platform.env"
        with secret.open("a", encoding="utf-8") as settings:
            settings.write(f"VISIT_OPENS_BEFORE_MINUTES={24 * 60}\n")
        _fill(profile, environment)
        yield Target(url, secret, "a platform of its own, started for this run by `telemed run`", is_ours=True)
    finally:
        _stop(process)
        moved = home / "moved-to"
        if moved.exists():
            shutil.rmtree(moved.read_text(encoding="utf-8").strip(), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while not is_answering(url):
        if process.poll() is not None or time.monotonic() > deadline:
            words = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
            raise LoadProblem(f"A platform of its own does not start; the end of what it said:\n{words}")
        time.sleep(0.2)


def _fill(profile: Profile, environment: dict[str, str]) -> None:
    slots = max(20, profile.people.doctors, profile.people.patients // 50) * SLOTS_A_DOCTOR
    say(f"Filling in a data set of {slots:,} slots.")
    answer = subprocess.run(
        [sys.executable, str(ROOT / "load-tests" / "dataset"), "load", "--slots", str(slots), "--beside"],
        env=environment,
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if answer.returncode != 0:
        raise LoadProblem(f"The data set could not be made: {answer.stderr.strip()[-500:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOPS_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
