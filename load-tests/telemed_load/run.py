"""One run from beginning to end: people, load, look afterwards, verdict. Locust runs in a process of its own."""

import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from telemed.local.processes import free_port
from telemed_load import bystanders, results
from telemed_load.accounts import Accounts, DataSetAccounts, DemoAccounts, book_due, publish
from telemed_load.correctness import Looks, ThroughTheApi, ThroughTheDatabase, dsn_is_reachable, look
from telemed_load.exposition import Unreadable, compare_all
from telemed_load.gates import gates_of
from telemed_load.job import JOB_VARIABLE, Job
from telemed_load.measurements import Measurements
from telemed_load.people import Population
from telemed_load.platforms import Target, target
from telemed_load.problems import LoadProblem
from telemed_load.profile import Profile
from telemed_load.settings_file import settings_from
from telemed_load.shapes import Schedule
from telemed_load.verdict import Verdict, decide
from telemed_load.wording import say, table

LOCUSTFILE = Path(__file__).parents[1] / "locustfile.py"
USER_AGENT = "telemed-load/1"
LATE_SECONDS = 90.0  # beyond the window, for the generator to begin and end
JOIN_SECONDS = 300  # for the workers to come
SPAWNED_PER_SECOND = 2000  # hands cost nothing until they are used


@dataclass(frozen=True)
class Options:
    """What the caller decides."""

    profile: str
    url: str | None
    secret: Path | None
    metrics: list[str]
    results: Path
    workers: int  # processes of this machine; 0: one process does everything
    expect_workers: int  # workers of other machines, which connect to this one
    dsn: str | None
    prints_json: bool = False  # where the log is all that is left of a run


def run(options: Options, schedule: Schedule) -> int:
    """Do the run; return the exit code: 0 met, 1 missed, 2 invalid.

    Raises:
        LoadProblem: there is nothing to judge.
    """
    results.require_writable(options.results)
    gates_of(schedule.profile)  # a slip in the profile is told before the load
    if options.secret is not None:
        settings_from(options.secret)
    begun_at, load_before = results.now(), os.getloadavg()[0]
    profile = schedule.profile
    with target(options.url, options.secret, profile) as there, _client(there) as client:
        dsn = options.dsn or (settings_from(there.secret).owner_database if there.secret else None)
        if dsn:
            dsn_is_reachable(dsn)
        population = _people(there, schedule, client)
        say(_announcement(schedule, there, population))
        before = bystanders.look()
        measured = _loaded(options, schedule, population, there.url)
        # Of a platform that somebody else started nobody knows what is its own work, and what is others'.
        others = bystanders.others_ratio(before, bystanders.look()) if there.is_ours else None
        looks: Looks = ThroughTheDatabase(dsn) if dsn else ThroughTheApi(client, population.patients)
        violations, correctness = _looked(looks, measured)
    verdict = _verdict(schedule, measured, violations, others)
    command = shlex.join(["python", "-m", "telemed_load", *sys.argv[1:]])
    circumstances = results.Circumstances(
        options.profile, command, there.described, population.described, correctness, begun_at, load_before, others
    )
    result = results.result_of(verdict, schedule, measured, circumstances)
    written = results.write(options.results, result, schedule, measured)
    say(f"\n{table(result)}\n")
    say("\n".join(str(path) for path in written))
    if options.prints_json:
        say(json.dumps(result))
    return verdict.exit_code


def _verdict(schedule: Schedule, measured: Measurements, violations: list[str], others: float | None) -> Verdict:
    gates = gates_of(schedule.profile)
    uncompared = ""
    try:
        comparisons = compare_all(gates, measured, schedule.profile.gates)
    except Unreadable as why:
        comparisons, uncompared = [], str(why)
    return decide(schedule, gates, measured, comparisons, uncompared=uncompared, violations=violations, others=others)


def _people(there: Target, schedule: Schedule, client: httpx.Client) -> Population:
    profile = schedule.profile
    accounts: Accounts = DemoAccounts() if there.secret is None else DataSetAccounts(there.secret)
    say("Logging in and publishing slots.")
    try:
        population = accounts.people(profile, client)
        publish(population, profile, client)
        book_due(population, round(profile.people.due * schedule.scale), client)
        population.run = secrets.token_hex(6)
    except httpx.HTTPError as error:
        raise LoadProblem(f"{there.url} did not answer in the preparation: {type(error).__name__}.") from error
    return population


def _looked(looks: Looks, measured: Measurements) -> tuple[list[str], str]:
    """Look afterwards; a platform that is gone cannot be looked into, which the gates will have seen."""
    count = len(measured.acknowledged)
    try:
        violations = look(looks, measured.acknowledged)
    except (LoadProblem, httpx.HTTPError, OSError) as error:
        return [], f"{count} acknowledged bookings could not be looked for: {type(error).__name__} {error}"
    return violations, f"{count} acknowledged bookings were looked for in {looks.described}"


def _announcement(schedule: Schedule, there: Target, population: Population) -> str:
    people = f"{len(population.patients)} patients, {len(population.doctors)} doctors"
    return (
        f"{schedule.profile.title}, times {schedule.scale:g}, for {schedule.profile.seconds:.0f} s "
        f"against {there.url} ({people})."
    )


# --- Locust


def _loaded(options: Options, schedule: Schedule, population: Population, url: str) -> Measurements:
    folder = Path(tempfile.mkdtemp(prefix="telemed-load-job-"))
    try:
        file, result = folder / "job.json", folder / "measured.json"
        Job(schedule, population, url, options.metrics or [f"{url}/metrics"], str(result)).write(file)
        generate(options, schedule.profile, file, folder)
        if not result.exists():
            log = "\n".join(_tail(one) for one in sorted(folder.glob("*.log")))
            raise LoadProblem(f"The generator ended without a result; the end of what it said:\n{log}")
        return Job.read_result(result)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def generate(options: Options, profile: Profile, job: Path, folder: Path) -> None:
    """Run Locust to its end, with as many workers of this machine as are asked for."""
    common = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE)]
    hands, rate = str(profile.generator.hands), str(SPAWNED_PER_SECOND)
    leading = [*common, "--headless", "--only-summary", "--users", hands, "--spawn-rate", rate]
    expected = options.expect_workers or options.workers
    if expected:
        leading += ["--master", "--expect-workers", str(expected), "--expect-workers-max-wait", str(JOIN_SECONDS)]
    # Workers of other machines know the port; those of this one are told, so that two loads do not meet there.
    port = str(free_port())
    if options.workers:
        leading += ["--master-bind-host", "127.0.0.1", "--master-bind-port", port]
    patience = profile.warm_up_seconds + profile.seconds + LATE_SECONDS + JOIN_SECONDS * bool(expected)
    with ExitStack() as stack:
        leader = stack.enter_context(_process(leading, job, folder / "locust.log"))
        joining = [*common, "--worker", "--master-host", "127.0.0.1", "--master-port", port]
        for number in range(options.workers):
            stack.enter_context(_process(joining, job, folder / f"worker-{number}.log"))
        try:
            leader.wait(patience)
        except subprocess.TimeoutExpired as error:
            raise LoadProblem(f"The generator did not end within {patience:.0f} s.") from error


@contextmanager
def _process(command: list[str], job: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, JOB_VARIABLE: str(job)}
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _client(there: Target) -> httpx.Client:
    return httpx.Client(base_url=there.url, headers={"User-Agent": USER_AGENT}, timeout=30)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
