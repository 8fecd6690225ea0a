"""An acknowledged write is never lost, never done twice and never half done: not when processes are killed.

The trial is small here. `TELEMED_TRIAL_SLOTS=10000 TELEMED_TRIAL_CLAIMANTS=20` runs the large one (docs/proofs.md).
"""

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest
from tests import servers
from tests.support.clinic import Clinic
from tests.support.commands import telemed
from tests.support.databases import TestDatabase
from tests.support.ledger import FAULTS, caught_up, faults, let_leases_run_out, undelivered
from tests.support.people import People, User
from tests.support.platform import Platform, running_platform
from tests.support.settings import make_settings
from tests.support.trial import Claim, Killer, Size, Trial, beside
from tests.support.waiting import until

from telemed.kernel.clock import SystemClock
from telemed.kernel.service import Service
from telemed.kernel.settings import Settings
from telemed.local.postgres import start_postgres
from telemed.local.problems import LocalProblem
from telemed.local.processes import Guard
from telemed.local.valkey import ValkeyServer
from telemed.migrations.runner import migrate

SIZE = Size.wanted(slots=80, claimants=5)
IS_LARGE = SIZE.slots > 1000


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """Everything in it is looked at, so it is nobody else's."""
    return fresh_database


async def shown_by_search(client: httpx.AsyncClient, doctor: User) -> set[str]:
    """Walk all pages of a doctor's open slots."""
    shown: set[str] = set()
    cursor = None
    while True:
        query = {"doctor_id": doctor.id, "limit": "100"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/booking/slots/search", params=query)).raise_for_status().json()
        shown |= {item["id"] for item in page["items"]}
        cursor = page["next_cursor"]
        if cursor is None:
            return shown


@pytest.mark.timeout(SIZE.allowed_seconds + 120)
async def test_bookings_survive_the_killing_of_processes(
    platform_processes: Platform,
    live_people: People,
    live_clinic: Clinic,
    owner: asyncpg.Connection,
    settings: Settings,
    services: tuple[Service, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two booking processes and a worker die again and again; what was acknowledged is there, once and whole."""
    platform = platform_processes
    await platform.serve("booking", "booking")
    await platform.work()
    trial = Trial(SIZE, live_people)
    await trial.set_up(live_clinic)
    killer = Killer(platform, trial)
    began = time.monotonic()

    await beside(trial.run(), killer.go_about(["booking", "worker", "booking"]), within_seconds=SIZE.allowed_seconds)

    if IS_LARGE:
        with capsys.disabled():
            sys.stdout.write(f"\n{SIZE} took {time.monotonic() - began:.0f} s: {killer.killed}, {trial.met}\n")
    assert killer.killed.total() == SIZE.kills
    assert trial.met["no answer"], "the killer was to interrupt somebody"
    winners = [claim for claim in trial.claims if claim.appointment_id is not None]
    # Once more, now that nothing is in the way: the winners, and some of the others.
    for claim in (*winners, *trial.claims[:: SIZE.claimants]):
        await trial.insist(claim)
    assert {len(set(claim.answers)) for claim in trial.claims} == {1}

    assert len({claim.slot_id for claim in winners}) == len(winners) == SIZE.slots
    booked = {str(row["id"]) for row in await owner.fetch("SELECT id FROM booking.appointments")}
    assert booked == {claim.appointment_id for claim in winners}
    assert await faults(owner) == {}
    keys = await owner.fetchval("SELECT count(*) FROM platform.idempotency_keys WHERE route = '/booking/slots/book'")
    assert keys == len(trial.claims)

    if not IS_LARGE:
        await let_leases_run_out(owner)
    await caught_up(owner, within_seconds=60 + SIZE.requests / 50)
    assert await undelivered(owner, services) == set()
    shown = [await shown_by_search(platform.client, doctor) for doctor in trial.doctors]
    assert set().union(*shown) == trial.unclaimed
    checkpoints = str(tmp_path / "checkpoints")
    assert (await telemed(settings, "audit", "checkpoint", "--out", checkpoints)).code == 0
    verified = await telemed(settings, "audit", "verify", "--checkpoints", checkpoints)
    assert (verified.code, verified.output.split(":")[0]) == (0, "INTACT"), verified


@pytest.fixture
def valkey() -> Iterator[ValkeyServer]:
    """A Valkey for this test alone, to be frozen."""
    with servers.own_valkey() as server:
        yield server


async def test_a_process_killed_between_commit_and_reply(
    platform_processes: Platform,
    live_people: People,
    live_clinic: Clinic,
    owner: asyncpg.Connection,
    valkey: ValkeyServer,
) -> None:
    """The effect stands, the retry hears of it from another process, and search learns of it from the worker.

    The moment is held open by a frozen Redis: the process tells search of the booking after the commit.
    """
    platform = platform_processes
    (victim,) = await platform.serve("booking", REDIS_URL=valkey.url, REDIS_TIMEOUT_SECONDS="5")
    doctor, patient = await live_clinic.doctor(), await live_people.patient()
    (slot,) = await live_clinic.slots(doctor)
    assert await shown_by_search(platform.client, doctor) == {slot["id"]}
    valkey.freeze()
    wish = asyncio.create_task(patient.post("/booking/slots/book", {"slot_id": slot["id"]}, key="k"))
    await until(lambda: has_appointment(owner))

    await platform.stop(victim, signal.SIGKILL)

    with pytest.raises(httpx.TransportError):
        await wish
    valkey.thaw()
    await platform.serve("booking", REDIS_URL=valkey.url)
    again = await patient.post("/booking/slots/book", {"slot_id": slot["id"]}, key="k")
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert (await contents(owner))["booking.appointments"] == 1
    assert await faults(owner) == {}
    await platform.work(REDIS_URL=valkey.url)
    await caught_up(owner)
    assert await shown_by_search(platform.client, doctor) == set()


async def test_a_process_killed_before_commit(
    platform_processes: Platform, live_people: People, live_clinic: Clinic, owner: asyncpg.Connection
) -> None:
    """Nothing is left: no appointment, no record, no event, no reply, no lock; the retry is the first to succeed.

    The moment is held open by somebody else's lock, for which the transaction's last statement has to wait.
    """
    (victim,) = await platform_processes.serve("booking")
    patient = await live_people.patient()
    (slot,) = await live_clinic.slots(await live_clinic.doctor())
    before = await contents(owner)
    async with owner.transaction():
        await owner.execute("LOCK TABLE platform.idempotency_keys IN SHARE MODE")
        wish = asyncio.create_task(patient.post("/booking/slots/book", {"slot_id": slot["id"]}, key="k"))
        await until(lambda: somebody_waits(owner))
        await platform_processes.stop(victim, signal.SIGKILL)
    with pytest.raises(httpx.TransportError):
        await wish

    await platform_processes.serve("booking")
    assert await contents(owner) == before
    claim = Claim(patient, slot["id"], "k")
    trial = Trial(SIZE, live_people)
    await trial.insist(claim)
    assert (claim.answers[0].status, trial.met["201"]) == (201, 1)
    assert await contents(owner) == {name: count + 1 for name, count in before.items()}
    assert await faults(owner) == {}


async def test_a_process_that_was_frozen_does_not_claim_what_it_has_lost(
    platform_processes: Platform, live_people: People, live_clinic: Clinic, owner: asyncpg.Connection
) -> None:
    """While it is frozen the server ends its transaction and somebody else gets the slot; thawed, it says 503.

    The moment is held open by a trigger that makes the insert slow enough to freeze the process meanwhile.
    """
    platform = platform_processes
    name = await owner.fetchval("SELECT current_database()")
    await owner.execute(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '1s'")
    victim, other = await platform.serve("booking", "booking")
    loser, winner = await live_people.patients(2)
    (slot,) = await live_clinic.slots(await live_clinic.doctor())
    body = {"slot_id": slot["id"]}
    await owner.execute(SLOW_INSERT)
    async with (
        httpx.AsyncClient(base_url=victim.url, timeout=60) as frozen,
        httpx.AsyncClient(base_url=other.url, timeout=60) as awake,
    ):
        wish = asyncio.create_task(replace(loser, client=frozen).post("/booking/slots/book", body, key="k"))
        await until(lambda: sleeps(owner))
        victim.signal(signal.SIGSTOP)
        trial, claim = Trial(SIZE, live_people), Claim(replace(winner, client=awake), slot["id"], "w")
        async with asyncio.timeout(30):
            await trial.insist(claim)
        victim.signal(signal.SIGCONT)
        lost = await wish

    assert claim.answers[0].status == 201
    assert lost.status_code == 503, lost.text
    again = await loser.post("/booking/slots/book", body, key="k")
    assert (again.status_code, again.json()["type"]) == (409, "slot-taken")
    assert await faults(owner) == {}


SLOW_INSERT = """
    CREATE FUNCTION booking.sleep() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$;
    CREATE TRIGGER slow AFTER INSERT ON booking.appointments FOR EACH STATEMENT EXECUTE FUNCTION booking.sleep();
"""


async def sleeps(owner: asyncpg.Connection) -> bool:
    """Tell whether a transaction is in the middle of its insert: it holds the lock that its new row needs."""
    holds = """
        SELECT FROM pg_locks WHERE relation = 'booking.appointments'::regclass AND mode = 'RowExclusiveLock' AND granted
    """
    return bool(await owner.fetchval(f"SELECT EXISTS ({holds})"))


async def contents(owner: asyncpg.Connection) -> dict[str, int]:
    """Count what a booking leaves behind."""
    tables = ("booking.appointments", "audit.records", "platform.outbox", "platform.idempotency_keys")
    return {table: await owner.fetchval(f"SELECT count(*) FROM {table}") for table in tables}


async def has_appointment(owner: asyncpg.Connection) -> bool:
    return bool(await owner.fetchval("SELECT EXISTS (SELECT FROM booking.appointments)"))


async def somebody_waits(owner: asyncpg.Connection) -> bool:
    """Tell whether a transaction waits to store its reply."""
    waits = "SELECT FROM pg_locks WHERE relation = 'platform.idempotency_keys'::regclass AND NOT granted"
    return bool(await owner.fetchval(f"SELECT EXISTS ({waits})"))


class DurablePostgres:
    """A PostgreSQL that keeps what it has acknowledged; it can be killed, and started again at its address."""

    def __init__(self, folder: Path, guard: Guard) -> None:
        self._folder, self._guard = folder / "postgres", guard
        self._server = start_postgres(self._folder, guard)
        passwords = dict.fromkeys(servers.ALL_ROLES, "not-a-secret")
        asyncio.run(servers.prepare_roles(self._server.dsn(), passwords))
        addresses = servers.TestServers("127.0.0.1", self._server.port, self._server.password, passwords, "")
        addresses.create_database("telemed")
        self.database = TestDatabase(addresses, "telemed")
        migrate(self.database.owner)

    def kill(self) -> None:
        """End the server without a warning; its children notice and follow."""
        self._server.running.process.kill()
        self._server.running.process.wait()
        self._guard.forget(self._server.running)

    def start_again(self) -> None:
        """Recover from the log of changes, on the same port."""
        deadline, port = time.monotonic() + 30, self._server.port
        while True:
            try:
                self._server = start_postgres(self._folder, self._guard)
            except LocalProblem:
                # The last of the killed server's children have not gone yet.
                assert time.monotonic() < deadline
                time.sleep(0.1)
            else:
                break
        assert self._server.port == port


@pytest.fixture
def durable_postgres() -> Iterator[DurablePostgres]:
    """A PostgreSQL for this test alone, with fsync on."""
    with servers.server_folder("telemed-durable-") as (folder, guard):
        yield DurablePostgres(folder, guard)


async def test_bookings_survive_the_killing_of_postgres(
    durable_postgres: DurablePostgres, redis_url: str, tmp_path: Path, services: tuple[Service, ...]
) -> None:
    """What was acknowledged is there after recovery; meanwhile 503 and no 500; nobody has to be restarted."""
    database = durable_postgres.database
    settings = make_settings(database, redis_url)
    async with running_platform(settings, tmp_path) as platform:
        await platform.serve("booking", "booking")
        await platform.work()
        people = People(platform.client, database.owner, settings, SystemClock())
        trial = Trial(Size(slots=48, claimants=4, seed=SIZE.seed), people)
        await trial.set_up(Clinic(people, datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)))

        async def kill_postgres() -> None:
            await trial.answers(60)
            durable_postgres.kill()
            await until(lambda: trial.met["unavailable"] > 5, within_seconds=30)
            await asyncio.to_thread(durable_postgres.start_again)

        await beside(trial.run(), kill_postgres(), within_seconds=120)

        assert not trial.met["no answer"], "no process of ours was to die"
        assert {len(set(claim.answers)) for claim in trial.claims} == {1}
        owner = await asyncpg.connect(database.owner)
        booked = {str(row["id"]) for row in await owner.fetch("SELECT id FROM booking.appointments")}
        assert booked == {claim.appointment_id for claim in trial.claims} - {None}
        assert len(booked) == trial.size.slots
        assert await faults(owner) == {}
        await let_leases_run_out(owner)
        await caught_up(owner)
        assert await undelivered(owner, services) == set()
        await owner.close()


PLANTED = {
    "slot with two appointments": "UPDATE booking.appointments SET slot_id = (SELECT min(slot_id::text)::uuid "
    "FROM booking.appointments)",
    "doctor or patient in two places": """
        ALTER TABLE booking.appointments DROP CONSTRAINT appointments_patient_no_overlap;
        UPDATE booking.appointments SET patient_id = (SELECT min(patient_id::text)::uuid FROM booking.appointments),
            starts_at = (SELECT min(starts_at) FROM booking.appointments),
            doctor_id = gen_random_uuid()
    """,
    "slot whose status is not that of its appointment": "UPDATE booking.slots SET status = 'open'",
    "appointment without its one audit record": """
        ALTER TABLE audit.records DISABLE TRIGGER records_immutable; DELETE FROM audit.records
    """,
    "appointment without its one event": "DELETE FROM platform.outbox",
    "audit record of an appointment that is not there": """
        DELETE FROM booking.appointments WHERE id IN (SELECT id FROM booking.appointments LIMIT 1)
    """,
    "event of an appointment that is not there": "DELETE FROM booking.appointments",
    "stored reply of an appointment that is not there": "DELETE FROM booking.appointments",
    "appointment, audit record and stored reply of different transactions": """
        UPDATE platform.idempotency_keys SET created_at = created_at
    """,
}


async def test_the_ledger_sees_every_fault(people: People, clinic: Clinic, owner: asyncpg.Connection) -> None:
    """What the trials rely on finds each fault that is put there on purpose, and finds none before."""
    doctor = await clinic.doctor()
    for slot, patient in zip(await clinic.slots(doctor, 2), await people.patients(2), strict=True):
        await patient.post("/booking/slots/book", {"slot_id": slot["id"]}, key="k")
    assert await faults(owner) == {}
    assert PLANTED.keys() == FAULTS.keys()
    for name, statements in PLANTED.items():
        transaction = owner.transaction()
        await transaction.start()
        await owner.execute(statements)
        assert name in await faults(owner)
        await transaction.rollback()
