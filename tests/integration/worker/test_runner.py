"""The worker as a process: it survives what happens to it, loses nothing, and ends in order."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import httpx
import pytest
from tests.support.databases import TestDatabase
from tests.support.events import LoggedEvents
from tests.support.platform import Platform, TelemedProcess

from telemed.auth.tokens.key_files import write_key_pair
from telemed.cli import DEPLOYABLES
from telemed.kernel.clock import ManualClock
from telemed.kernel.jobs import FORGOTTEN_AT_ONCE, Job
from telemed.kernel.resources import Resources
from telemed.kernel.service import Service
from telemed.local.processes import free_port
from telemed.worker.housekeeping import HOUSEKEEPING
from telemed.worker.loops import repeat
from telemed.worker.runner import run_jobs

# Events that booking awaits, though of a doctor it does not know.
EVENTS = """
    INSERT INTO platform.outbox (id, type, payload, traceparent, occurred_at, available_at)
    SELECT gen_random_uuid(), 'slots.published', '{"doctor_id": "0198f3c2-7a10-7c3e-9a54-3f1c5b7d2e90"}', '',
           now(), now()
    FROM generate_series(1, $1)
"""
RECORDS = """
    INSERT INTO audit.records
    SELECT gen_random_uuid(), now(), NULL, NULL, 'thing.read', 'allowed', 'thing', NULL, NULL, '', '', '', '{}'
    FROM generate_series(1, $1)
"""


async def until(condition: Callable[[], Awaitable[bool]], within_seconds: float = 40.0) -> None:
    """Wait for the condition."""
    deadline = time.monotonic() + within_seconds
    while not await condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


async def is_done(owner: asyncpg.Connection, events: int, records: int) -> bool:
    """Tell whether every event is delivered and every record is chained."""
    delivered = await owner.fetchval("SELECT count(*) FROM platform.outbox WHERE delivered_at IS NOT NULL")
    chained = await owner.fetchval("SELECT count(*) FROM audit.chain")
    return (delivered, chained) == (events, records)


def logged(process: TelemedProcess, name: str) -> bool:
    """Tell whether the process has logged this event."""
    return any(event.get("event") == name for event in process.events())


async def test_workers_that_are_killed_lose_nothing(platform_processes: Platform, owner: asyncpg.Connection) -> None:
    """SIGKILL in the middle of the work, several times; the next ones do the rest, each event with effect once."""
    await owner.execute(EVENTS, 15_000)
    await owner.execute(RECORDS, 12_000)
    for _ in range(3):
        worker = await platform_processes.work()
        before = await owner.fetchval("SELECT count(*) FROM platform.handled_events")

        async def has_begun(before: int = before) -> bool:
            return bool(await owner.fetchval("SELECT count(*) FROM platform.handled_events") > before)

        await until(has_begun)
        await platform_processes.stop(worker, signal.SIGKILL)
    assert not await is_done(owner, 15_000, 12_000), "killed in the middle, not at the end"
    # What the dead had claimed is due when its lease runs out; the test does not wait for that.
    await owner.execute("UPDATE platform.outbox SET available_at = now() WHERE delivered_at IS NULL")
    await platform_processes.work()
    await platform_processes.work()
    await until(lambda: is_done(owner, 15_000, 12_000))
    row = await owner.fetchrow("SELECT min(seq) AS first, max(seq) AS last, count(DISTINCT record_id) FROM audit.chain")
    assert row is not None
    assert tuple(row) == (1, 12_000, 12_000)
    assert await owner.fetchval("SELECT count(*) FROM platform.handled_events") == 15_000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_worker_ends_in_order(
    platform_processes: Platform, owner: asyncpg.Connection, number: signal.Signals
) -> None:
    """Exit code 0, soon, in the middle of the work."""
    await owner.execute(RECORDS, 5000)
    worker = await platform_processes.work()

    async def has_begun() -> bool:
        return bool(await owner.fetchval("SELECT count(*) > 0 FROM audit.chain"))

    await until(has_begun)
    started = time.monotonic()
    assert await platform_processes.stop(worker, number) == 0
    assert time.monotonic() - started < 10
    assert logged(worker, "worker.stopped")


async def test_a_worker_that_ends_delivers_what_it_has_leased(
    platform_processes: Platform, owner: asyncpg.Connection
) -> None:
    """SIGTERM in the middle of a batch: nothing waits for a lease to run out afterwards."""
    await owner.execute(EVENTS, 20_000)
    worker = await platform_processes.work()

    async def has_begun() -> bool:
        return bool(await owner.fetchval("SELECT count(*) > 0 FROM platform.handled_events"))

    await until(has_begun)
    assert await platform_processes.stop(worker) == 0
    leased = "SELECT count(*) FROM platform.outbox WHERE delivered_at IS NULL AND attempts > 0"
    left = "SELECT count(*) FROM platform.outbox WHERE delivered_at IS NULL"
    assert await owner.fetchval(left) > 0, "stopped in the middle, not at the end"
    assert await owner.fetchval(leased) == 0


async def test_a_worker_needs_no_signing_key(
    platform_processes: Platform, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    """With tokens signed by EdDSA only auth holds the private half; the worker delivers events without it."""
    await owner.execute(EVENTS, 10)
    worker = await platform_processes.work(
        JWT_ALGORITHM="EdDSA",
        JWT_PUBLIC_KEY_FILES=str(write_key_pair(tmp_path).public),
        PEPPER="only-for-tests",
    )

    async def is_delivered() -> bool:
        return await is_done(owner, 10, 0)

    await until(is_delivered)
    assert await platform_processes.stop(worker) == 0


async def test_a_worker_outlives_its_database(
    platform_processes: Platform, owner: asyncpg.Connection, database: TestDatabase
) -> None:
    """While it is away nothing spins; when it is back, so is the work."""
    worker = await platform_processes.work()
    await owner.execute(RECORDS, 1)
    await until(lambda: is_done(owner, 0, 1))
    superuser = await asyncpg.connect(database.servers.superuser_dsn)
    await superuser.execute(f"ALTER DATABASE {database.name} WITH ALLOW_CONNECTIONS false")
    await superuser.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = 'telemed_jobs'",
        database.name,
    )
    await asyncio.sleep(4)  # the time for which it is away
    failed = [event for event in worker.events() if event["event"] == "job.failed"]
    await superuser.execute(f"ALTER DATABASE {database.name} WITH ALLOW_CONNECTIONS true")
    await superuser.close()
    assert 1 <= len(failed) <= 20
    await owner.execute(EVENTS, 5)
    await owner.execute(RECORDS, 5)
    await until(lambda: is_done(owner, 5, 6))
    assert await platform_processes.stop(worker) == 0


async def test_a_worker_starts_before_its_database(platform_processes: Platform) -> None:
    """It waits, and can be stopped meanwhile."""
    worker = await platform_processes.work(WORKER_DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")

    async def has_failed() -> bool:
        return logged(worker, "job.failed")

    await until(has_failed)
    assert await platform_processes.stop(worker) == 0


async def test_probes_and_metrics_are_on_the_management_port(platform_processes: Platform) -> None:
    """As those of every other deployable."""
    port = free_port()
    worker = await platform_processes.work(MANAGEMENT_PORT=str(port))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

        async def answers() -> bool:
            try:
                return (await client.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await until(answers)
        assert (await client.get("/livez")).status_code == 200

        async def has_measured() -> bool:
            return (
                'telemed_worker_jobs_total{job="outbox-measure",outcome="succeeded"}'
                in (await client.get("/metrics")).text
            )

        await until(has_measured)
    assert await platform_processes.stop(worker) == 0


class TestLoops:
    """One job's loop, in this process."""

    async def test_a_job_that_fails_does_not_stop_the_others(
        self, worker_resources: Resources, events: LoggedEvents
    ) -> None:
        """It comes again, too."""
        runs = {"ill": 0, "well": 0}
        stopping = asyncio.Event()

        async def ill(_resources: Resources) -> int:
            runs["ill"] += 1
            raise RuntimeError("Asha Rao")

        async def well(_resources: Resources) -> int:
            runs["well"] += 1
            if runs["well"] > 5 and runs["ill"] > 1:
                stopping.set()
            return 0

        soon = timedelta(seconds=0.01)
        service = Service(name="x", title="x", jobs=(Job("ill", soon, ill), Job("well", soon, well)))
        async with asyncio.timeout(20):
            await run_jobs([service], worker_resources, stopping)
        assert events.named("job.failed")[0]["error"] == "RuntimeError"
        assert "Asha" not in str(events.all)

    async def test_a_job_with_more_to_do_runs_again_at_once(self, worker_resources: Resources) -> None:
        """Its pause is for when nothing is left."""
        left = [5]
        stopping = asyncio.Event()

        async def run(_resources: Resources) -> int:
            left[0] -= 1
            if left[0] == 0:
                stopping.set()
            return left[0]

        async with asyncio.timeout(5):
            await repeat(Job("x", timedelta(hours=1), run), worker_resources, stopping)

    async def test_what_is_less_than_a_batch_waits_for_the_next_time(self, worker_resources: Resources) -> None:
        """Or a job that forgets what grows old would run without a pause for as long as there is any traffic."""
        did, runs = [5, 4, 5], 0
        stopping, has_run_twice = asyncio.Event(), asyncio.Event()

        async def run(_resources: Resources) -> int:
            nonlocal runs
            runs += 1
            if runs == 2:
                has_run_twice.set()
            return did[runs - 1]

        running = asyncio.create_task(repeat(Job("x", timedelta(hours=1), run, batch=5), worker_resources, stopping))
        await has_run_twice.wait()
        for _ in range(20):  # far more turns than another run would need
            await asyncio.sleep(0)
        stopping.set()
        await running
        assert runs == 2

    async def test_a_job_that_does_not_end_is_cut_short(
        self, worker_resources: Resources, events: LoggedEvents
    ) -> None:
        """At the end of the grace period, not before."""
        begun, stopping = asyncio.Event(), asyncio.Event()

        async def endless(_resources: Resources) -> int:
            begun.set()
            await asyncio.Event().wait()
            return 0

        worker_resources.settings = worker_resources.settings.model_copy(update={"shutdown_grace_seconds": 1})
        service = Service(name="x", title="x", jobs=(Job("endless", timedelta(seconds=1), endless),))
        running = asyncio.create_task(run_jobs([service], worker_resources, stopping))
        await begun.wait()
        stopping.set()
        async with asyncio.timeout(10):
            await running
        assert [event["job"] for event in events.named("job.cut_short")] == ["endless"]
        assert worker_resources.health.is_draining


def test_what_forgets_waits_for_a_batch() -> None:
    """Each job of that name, of whichever service: under load there is always something that is just old enough."""
    jobs = [*HOUSEKEEPING, *(job for service in DEPLOYABLES["all"] for job in service.jobs)]
    forgetting = {job.name: job.batch for job in jobs if job.name.startswith("forget-")}
    assert len(forgetting) >= 4
    assert set(forgetting.values()) == {FORGOTTEN_AT_ONCE}


async def test_what_nobody_needs_is_forgotten(
    worker_resources: Resources, owner: asyncpg.Connection, clock: ManualClock
) -> None:
    """Subscribers' notes and stored replies; never what may still be wanted. Events go with their month."""
    now = clock.now()
    undelivered, delivered = UUID(int=1), UUID(int=2)
    await owner.execute(
        """
        INSERT INTO platform.outbox (id, type, payload, traceparent, occurred_at, available_at, parked_at, delivered_at)
        VALUES ($1, 't', '{}', '', $3, $3, $3, NULL), ($2, 't', '{}', '', $3, $3, NULL, $3)
        """,
        undelivered,
        delivered,
        now,
    )
    for event_id in (undelivered, delivered):
        await owner.execute("INSERT INTO platform.handled_events VALUES ('s', $1, $2)", event_id, now)
    await owner.execute(
        "INSERT INTO platform.idempotency_keys VALUES ('c', 'POST', '/', 'k', '', 200, '{}', '', $1)", now
    )
    clock.advance(timedelta(days=30))
    stopping = asyncio.Event()
    running = asyncio.create_task(run_jobs([], worker_resources, stopping))

    async def is_forgotten() -> bool:
        left = await owner.fetch(
            """
            SELECT event_id::text FROM platform.handled_events UNION ALL SELECT key FROM platform.idempotency_keys
            """
        )
        return [row[0] for row in left] == [str(undelivered)]

    await until(is_forgotten)
    stopping.set()
    await running
    assert await owner.fetchval("SELECT count(*) FROM platform.outbox") == 2
