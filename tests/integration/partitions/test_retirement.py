"""`telemed partitions export` and `retire`: a month leaves as it was exported or not at all; the trail stays proved."""

import asyncio
import gzip
import hashlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.support.databases import TestDatabase
from tests.support.months import id_in, instant_in, make_months, months_ago
from tests.support.platform import environment_of
from tests.support.waiting import until
from typer.testing import CliRunner, Result

from telemed.audit.chain.jobs import JOBS
from telemed.audit.chain.rules import record_hash
from telemed.audit.proof.rounds import VERIFY, Rounds
from telemed.cli import app
from telemed.kernel.ids import uuid7
from telemed.kernel.resources import Resources
from telemed.kernel.settings import Settings

OLD = months_ago(20)
LABEL = f"{OLD:%Y-%m}"
KEEP = {"AUDIT_KEEP_MONTHS": "12", "OUTBOX_KEEP_MONTHS": "2", "HISTORY_KEEP_MONTHS": "12"}
RECORDS = """
    INSERT INTO audit.records
    SELECT id, platform.uuid7_time(id), gen_random_uuid(), 'doctor', 'thing.read', 'allowed', 'thing', NULL, NULL,
           '', '', '10.0.0.1', '{"n": 1.50, "big": 12345678901234567890123, "deep": [null, {"ü": "\\u2028"}]}'
    FROM unnest($1::uuid[]) AS id
"""
EVENTS = """
    INSERT INTO platform.outbox (id, type, payload, traceparent, occurred_at, available_at, delivered_at)
    SELECT gen_random_uuid(), 'thing.made', '{"thing_id": 1.0}', '', $1, $1, $1 FROM generate_series(1, 2500)
"""
HISTORY = """
    INSERT INTO booking.appointment_history
    SELECT gen_random_uuid(), 1, gen_random_uuid(), 'booked', $1, $1 FROM generate_series(1, 10)
"""
Telemed = Callable[..., Awaitable[Result]]


@pytest.fixture
def telemed(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Telemed:
    """Runs `telemed …` in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    environment = environment_of(settings) | KEEP

    async def run(*arguments: str, **more: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), env=environment | more)

    return run


@pytest.fixture
async def trail(owner: asyncpg.Connection, worker: Resources, telemed: Telemed) -> list[UUID]:
    """A trail with an old month of 1203 records and a new one of 40, chained, in a checkpoint that was exported."""
    await make_months(owner, "audit", OLD, months_ago(0))
    old = sorted(UUID(id_in(OLD)) for _ in range(1203))
    await owner.execute(RECORDS, old)
    await owner.execute(RECORDS, [uuid7() for _ in range(40)])
    while await JOBS[0].run(worker):
        pass
    assert (await telemed("audit", "checkpoint", "--out", "cp.jsonl")).exit_code == 0
    return old


async def retired(telemed: Telemed, table: str = "audit") -> None:
    """Export the old month and take it away."""
    exported = await telemed("partitions", "export", table, LABEL, "--to", ".")
    assert exported.exit_code == 0, exported.output
    result = await telemed("partitions", "retire", table, LABEL, "--exported", f"{table}-{LABEL}.jsonl.gz")
    assert result.exit_code == 0, result.output


def names_in(folder: Path) -> list[str]:
    """Give the names of what is there."""
    return [path.name for path in folder.iterdir()]


async def breaks_of_a_round(worker: Resources) -> float | None:
    """Let the worker go on to the end of its round over the chain; gives how many breaks it shows."""
    await VERIFY.run(worker)
    while not worker.parts[Rounds].is_between_rounds:
        await VERIFY.run(worker)
    return worker.metrics.registry.get_sample_value("telemed_audit_chain_breaks")


async def waits(owner: asyncpg.Connection, query: str, partition: str, count: int) -> bool:
    """Tell whether so many wait for a lock on the partition."""
    return bool(await owner.fetchval(query, partition) == count)


async def is_there(owner: asyncpg.Connection, partition: str) -> bool:
    """Tell whether the partition is."""
    return bool(await owner.fetchval("SELECT to_regclass($1) IS NOT NULL", partition))


async def strip_guards(owner: asyncpg.Connection) -> None:
    """Do what whoever owns the database can: remove every trigger of the trail."""
    for row in await owner.fetch("SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'audit'::regnamespace"):
        if row[0].startswith("audit.re"):
            kind = await owner.fetchval("SELECT relkind::text FROM pg_class WHERE oid = $1::text::regclass", row[0])
            if kind in {"r", "p"}:
                await owner.execute(f"ALTER TABLE {row[0]} DISABLE TRIGGER USER")


class TestExport:
    """A file that holds the month, whole, or no file."""

    @pytest.mark.usefixtures("trail")
    async def test_an_export_holds_every_record_as_it_was_hashed(
        self, telemed: Telemed, tmp_path: Path, owner: asyncpg.Connection
    ) -> None:
        """The hash of a line is the one in the chain; the manifest says what the file is."""
        result = await telemed("partitions", "export", "audit", LABEL, "--to", ".")
        assert result.exit_code == 0, result.output
        lines = gzip.decompress((tmp_path / f"audit-{LABEL}.jsonl.gz").read_bytes()).splitlines()
        chained = await owner.fetch("SELECT record_id, record_hash FROM audit.chain")
        hashes = {str(row["record_id"]): row["record_hash"] for row in chained}
        assert [record_hash(line.decode()) for line in lines] == [hashes[json.loads(line)["id"]] for line in lines]
        manifest = json.loads((tmp_path / f"audit-{LABEL}.manifest.json").read_text())
        ids = [json.loads(line)["id"] for line in lines]
        assert (manifest["table"], manifest["month"], manifest["rows"]) == ("audit", LABEL, 1203)
        assert (manifest["first_id"], manifest["last_id"]) == (min(ids), max(ids))

    @pytest.mark.usefixtures("trail")
    async def test_an_export_is_never_written_over(self, telemed: Telemed, tmp_path: Path) -> None:
        """It may be all that is left of a month."""
        path = tmp_path / f"audit-{LABEL}.jsonl.gz"
        path.write_bytes(b"precious")
        result = await telemed("partitions", "export", "audit", LABEL, "--to", ".")
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
        assert path.read_bytes() == b"precious"

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (("audit", "2019-13"), 1),
            (("audit", "default"), 1),
            (("audit", "x'; DROP TABLE audit.records"), 1),
            (("nothing", LABEL), 1),
            (("audit", f"{months_ago(-1):%Y-%m}"), 1),
            (("history", f"{months_ago(0):%Y-%m}"), 1),
        ],
    )
    async def test_what_cannot_be_exported_is_said_in_one_sentence(
        self, telemed: Telemed, tmp_path: Path, arguments: tuple[str, str], code: int
    ) -> None:
        """A month that is not there, or not over, or no month."""
        result = await telemed("partitions", "export", *arguments, "--to", ".")
        assert (result.exit_code, len(result.stderr.splitlines())) == (code, 1), result.output
        assert names_in(tmp_path) == []

    async def test_a_killed_export_leaves_nothing_that_looks_complete(
        self, owner: asyncpg.Connection, database: TestDatabase, settings: Settings, tmp_path: Path, telemed: Telemed
    ) -> None:
        """SIGKILL between its first page and its second; the next one is not in its way."""
        (month,) = await make_months(owner, "outbox", OLD)
        await owner.execute(EVENTS, instant_in(OLD))
        first, second = await asyncpg.connect(database.owner), await asyncpg.connect(database.owner)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::text::regclass"
        await first.execute(f"BEGIN; LOCK TABLE {month}")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "telemed.cli", "partitions", "export", "outbox", LABEL, "--to", str(tmp_path)),
            env=environment_of(settings) | KEEP,
            cwd=tmp_path,
        )
        await until(lambda: waits(owner, waiting, month, 1), within_seconds=60)
        # Queues behind the first page, so it is before the second one.
        locking = asyncio.create_task(second.execute(f"BEGIN; LOCK TABLE {month}"))
        await until(lambda: waits(owner, waiting, month, 2), within_seconds=60)
        await first.close()
        await locking
        await until(lambda: waits(owner, waiting, month, 1), within_seconds=60)
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        await second.close()
        assert len(names_in(tmp_path)) == 1
        assert names_in(tmp_path)[0].startswith(".outbox-")
        result = await telemed("partitions", "retire", "outbox", LABEL, "--exported", f"outbox-{LABEL}.jsonl.gz")
        assert result.exit_code == 2
        assert (await telemed("partitions", "export", "outbox", LABEL, "--to", ".")).exit_code == 0


class TestRefusals:
    """A month stays, for each reason on its own."""

    async def refused(self, telemed: Telemed, owner: asyncpg.Connection, table: str, words: str, **more: str) -> None:
        """Try to retire the exported month, and find it where it was."""
        result = await telemed(
            *("partitions", "retire", table, LABEL, "--exported", f"{table}-{LABEL}.jsonl.gz"), **more
        )
        assert words in result.stderr
        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
        parent = {"audit": "audit.records", "outbox": "platform.outbox"}[table]
        assert await is_there(owner, f"{parent}_{OLD:%Y_%m}")
        assert await owner.fetchval("SELECT count(*) FROM audit.records WHERE action = 'partition.retire'") == 0

    @pytest.mark.usefixtures("trail")
    async def test_too_young(self, telemed: Telemed, owner: asyncpg.Connection) -> None:
        """The setting decides."""
        await telemed("partitions", "export", "audit", LABEL, "--to", ".")
        await self.refused(telemed, owner, "audit", "kept for 84 months", AUDIT_KEEP_MONTHS="84")

    async def test_not_even_the_settings_allow_weeks(self, telemed: Telemed) -> None:
        """A trail of a few months proves nothing."""
        for name in ("AUDIT_KEEP_MONTHS", "HISTORY_KEEP_MONTHS"):
            result = await telemed("partitions", "list", **{name: "11"})
            assert name in str(result.exception)

    @pytest.mark.usefixtures("trail")
    async def test_another_months_export(self, telemed: Telemed, owner: asyncpg.Connection, tmp_path: Path) -> None:
        """Its manifest says of which month it is."""
        await telemed("partitions", "export", "audit", LABEL, "--to", ".")
        manifest = tmp_path / f"audit-{LABEL}.manifest.json"
        manifest.write_text(manifest.read_text().replace(LABEL, "2019-01"))
        await self.refused(telemed, owner, "audit", "is an export of audit 2019-01")

    @pytest.mark.usefixtures("trail")
    async def test_an_export_that_was_changed(
        self, telemed: Telemed, owner: asyncpg.Connection, tmp_path: Path
    ) -> None:
        """By a single letter."""
        await telemed("partitions", "export", "audit", LABEL, "--to", ".")
        path = tmp_path / f"audit-{LABEL}.jsonl.gz"
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"doctor", b"Doctor", 1)))
        await self.refused(telemed, owner, "audit", "was changed since it was written")

    @pytest.mark.parametrize("damage", ["cut", "gone", "no manifest", "bad manifest", "not compressed"])
    @pytest.mark.usefixtures("trail")
    async def test_an_export_that_cannot_be_read(
        self, telemed: Telemed, owner: asyncpg.Connection, tmp_path: Path, damage: str
    ) -> None:
        """Exit code 2, and a sentence."""
        await telemed("partitions", "export", "audit", LABEL, "--to", ".")
        path, manifest = tmp_path / f"audit-{LABEL}.jsonl.gz", tmp_path / f"audit-{LABEL}.manifest.json"
        if damage == "cut":
            path.write_bytes(path.read_bytes()[:-2000])
        elif damage == "gone":
            path.unlink()
        elif damage == "no manifest":
            manifest.unlink()
        elif damage == "bad manifest":
            manifest.write_text("{}")
        else:
            path.write_bytes(b"{}\n")
        result = await telemed("partitions", "retire", "audit", LABEL, "--exported", path.name)
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1), result.output
        assert await is_there(owner, f"audit.records_{OLD:%Y_%m}")

    @pytest.mark.usefixtures("trail")
    async def test_a_database_that_cannot_take_the_record(self, telemed: Telemed, owner: asyncpg.Connection) -> None:
        """Exit code 2, and a sentence."""
        await telemed("partitions", "export", "audit", LABEL, "--to", ".")
        await owner.execute("DROP FUNCTION platform.write_ending")
        result = await telemed("partitions", "retire", "audit", LABEL, "--exported", f"audit-{LABEL}.jsonl.gz")
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1), result.output
        assert "SQLSTATE 42883" in result.stderr
        assert await is_there(owner, f"audit.records_{OLD:%Y_%m}")

    async def test_a_row_that_came_in_after_the_export(
        self, telemed: Telemed, owner: asyncpg.Connection, trail: list[UUID], worker: Resources
    ) -> None:
        """The export is not all that there is."""
        await telemed("partitions", "export", "audit", LABEL, "--to", ".")
        await owner.execute(RECORDS, [id_in(OLD)])
        while await JOBS[0].run(worker):
            pass
        await telemed("audit", "checkpoint", "--out", "cp.jsonl")
        await self.refused(telemed, owner, "audit", "not what was exported")

    async def test_events_that_are_not_delivered(self, telemed: Telemed, owner: asyncpg.Connection) -> None:
        """Somebody still waits for them."""
        await make_months(owner, "outbox", OLD)
        await owner.execute(EVENTS, instant_in(OLD))
        await owner.execute(
            """
            UPDATE platform.outbox SET delivered_at = NULL, parked_at = now()
            WHERE id = (SELECT id FROM platform.outbox LIMIT 1)
            """
        )
        await telemed("partitions", "export", "outbox", LABEL, "--to", ".")
        await self.refused(telemed, owner, "outbox", "1 of its events are not delivered")

    async def test_records_that_wait_for_the_chain(self, telemed: Telemed, owner: asyncpg.Connection) -> None:
        """Nothing would prove that they were there."""
        await make_months(owner, "audit", OLD, months_ago(0))
        await owner.execute(RECORDS, [id_in(OLD)])
        await telemed("partitions", "export", "audit", LABEL, "--to", ".")
        await self.refused(telemed, owner, "audit", "is not in the chain")

    async def test_records_that_no_checkpoint_covers(
        self, telemed: Telemed, owner: asyncpg.Connection, worker: Resources
    ) -> None:
        """Only a checkpoint proves them against the database's masters."""
        await make_months(owner, "audit", OLD, months_ago(0))
        await owner.execute(RECORDS, [id_in(OLD)])
        await JOBS[0].run(worker)
        await telemed("partitions", "export", "audit", LABEL, "--to", ".")
        await self.refused(telemed, owner, "audit", "is in no checkpoint yet")

    async def test_records_that_were_tampered_with(
        self, telemed: Telemed, owner: asyncpg.Connection, trail: list[UUID]
    ) -> None:
        """Retiring must not be the end of an investigation."""
        await strip_guards(owner)
        await owner.execute("UPDATE audit.records SET actor_role = 'admin' WHERE id = $1", trail[7])
        await telemed("partitions", "export", "audit", LABEL, "--to", ".")
        await self.refused(telemed, owner, "audit", f"Record {trail[7]} is not what was chained")

    async def test_a_record_that_was_removed(
        self, telemed: Telemed, owner: asyncpg.Connection, trail: list[UUID]
    ) -> None:
        """The chain knows that there was one more."""
        await strip_guards(owner)
        await owner.execute("DELETE FROM audit.records WHERE id = $1", trail[7])
        await telemed("partitions", "export", "audit", LABEL, "--to", ".")
        await self.refused(telemed, owner, "audit", "holds 1203 records of this month, the table 1202")


class TestVerification:
    """What `telemed audit verify` says once a month is gone."""

    @pytest.mark.usefixtures("trail")
    async def test_a_retired_month_is_no_tampering(self, telemed: Telemed, owner: asyncpg.Connection) -> None:
        """Without its export it is taken on trust, and said to be; with it nothing is."""
        await retired(telemed)
        assert not await is_there(owner, f"audit.records_{OLD:%Y_%m}")
        bare = await telemed("audit", "verify", "--checkpoints", "cp.jsonl")
        assert (bare.exit_code, bare.stdout.startswith("INTACT: 1243 records")) == (0, True), bare.output
        assert "1203 records had to be taken on trust" in bare.stdout
        proved = await telemed("audit", "verify", "--checkpoints", "cp.jsonl", "--exports", ".")
        assert (proved.exit_code, proved.stdout.startswith("INTACT: 1243 records")) == (0, True), proved.output
        assert f"{LABEL}: 1203 retired records were checked against" in proved.stdout
        assert "trust" not in proved.stdout

    @pytest.mark.usefixtures("trail")
    async def test_a_retired_month_is_no_break_to_the_worker(
        self, telemed: Telemed, owner: asyncpg.Connection, worker: Resources
    ) -> None:
        """Also if it goes while the worker is on its way; what else goes is one, and months' numbers are checked."""
        await VERIFY.run(worker)  # a thousand links of the month
        await retired(telemed)
        assert await breaks_of_a_round(worker) == 0
        assert await breaks_of_a_round(worker) == 0
        young = await owner.fetchval("SELECT id FROM audit.records WHERE action = 'thing.read' ORDER BY id LIMIT 1")
        await strip_guards(owner)
        await owner.execute("DELETE FROM audit.records WHERE id = $1", young)
        assert await breaks_of_a_round(worker) == 1
        await owner.execute("UPDATE audit.retired SET row_count = row_count - 1")
        assert (await breaks_of_a_round(worker) or 0) > 1

    @pytest.mark.usefixtures("trail")
    async def test_a_retired_month_is_proved_from_files_alone(self, telemed: Telemed) -> None:
        """The exported log lacks its records; their exports have them."""
        await retired(telemed)
        assert (await telemed("audit", "export", "--out", "log.jsonl")).exit_code == 0
        command = ("audit", "verify", "--checkpoints", "cp.jsonl", "--log", "log.jsonl")
        nowhere = {"DATABASE_URL": "", "AUDITOR_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
        assert (await telemed(*command, "--exports", ".", **nowhere)).exit_code == 0
        assert (await telemed(*command, **nowhere)).exit_code == 1

    @pytest.mark.usefixtures("trail")
    async def test_who_retired_what_is_in_the_trail(self, telemed: Telemed, owner: asyncpg.Connection) -> None:
        """With the hash of the export, so that another one cannot be put in its place."""
        await retired(telemed)
        row = await owner.fetchrow("SELECT details FROM audit.records WHERE action = 'partition.retire'")
        assert row is not None
        details = json.loads(row["details"])
        assert (details["table"], details["month"], details["rows"]) == ("audit", LABEL, 1203)
        assert details["by"]
        assert details["sha256"] == (await owner.fetchval("SELECT sha256 FROM audit.retired")).hex()

    async def test_a_tampered_export_is_named(self, telemed: Telemed, trail: list[UUID], tmp_path: Path) -> None:
        """The export as such, and the record in it."""
        await retired(telemed)
        path = tmp_path / f"audit-{LABEL}.jsonl.gz"
        lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
        lines[7] = lines[7].replace(b"doctor", b"Doctor")
        path.write_bytes(gzip.compress(b"".join(lines)))
        result = await telemed("audit", "verify", "--checkpoints", "cp.jsonl", "--exports", ".")
        assert result.exit_code == 1
        assert any(line.startswith(f"record {trail[7]}") and "altered" in line for line in result.stdout.splitlines())
        assert f"{path.name} is not the export that was retired" in result.stdout

    async def test_an_export_that_lacks_a_record_is_named(
        self, telemed: Telemed, trail: list[UUID], tmp_path: Path
    ) -> None:
        """As removed."""
        await retired(telemed)
        path = tmp_path / f"audit-{LABEL}.jsonl.gz"
        lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
        path.write_bytes(gzip.compress(b"".join(lines[:7] + lines[8:])))
        result = await telemed("audit", "verify", "--checkpoints", "cp.jsonl", "--exports", ".")
        assert result.exit_code == 1
        assert f"record {trail[7]} (seq 8): removed" in result.stdout

    async def test_a_record_that_is_removed_elsewhere_is_named(
        self, telemed: Telemed, owner: asyncpg.Connection, trail: list[UUID]
    ) -> None:
        """A retirement excuses its own range only."""
        await retired(telemed)
        await strip_guards(owner)
        young = await owner.fetchval("SELECT id FROM audit.records WHERE action = 'thing.read' ORDER BY id LIMIT 1")
        await owner.execute("DELETE FROM audit.records WHERE id = $1", young)
        for more in ((), ("--exports", ".")):
            result = await telemed("audit", "verify", "--checkpoints", "cp.jsonl", *more)
            assert (result.exit_code, f"record {young} (seq 1204): removed" in result.stdout) == (1, True), more

    @pytest.mark.parametrize("forgery", ["one record", "young month", "future", "no record", "other rows", "month"])
    async def test_a_made_up_retirement_hides_nothing(
        self, telemed: Telemed, owner: asyncpg.Connection, trail: list[UUID], forgery: str
    ) -> None:
        """Of one record, of a month that is not old, without a record in the trail, of another number of records."""
        victim = trail[7]
        from_id, to_id, rows, ago = UUID(int=OLD_START), UUID(int=OLD_END), 1, 0
        if forgery == "one record":
            from_id, to_id = victim, UUID(int=victim.int + 1)
        elif forgery == "young month":
            from_id, to_id = UUID(int=YOUNG_START), UUID(int=YOUNG_END)
            victim = await owner.fetchval("SELECT id FROM audit.records ORDER BY id DESC LIMIT 1")
        elif forgery == "future":
            from_id, to_id, ago = UUID(int=YOUNG_START), UUID(int=YOUNG_END), -20
            victim = await owner.fetchval("SELECT id FROM audit.records ORDER BY id DESC LIMIT 1")
        elif forgery == "other rows":
            rows = 2
        await strip_guards(owner)
        await owner.execute("DELETE FROM audit.records WHERE id = $1", victim)
        record_id = uuid7()
        said = {"month": LABEL, "rows": rows, "sha256": "00" * 32, "from_id": str(from_id), "to_id": str(to_id)}
        if forgery == "month":
            said["rows"] = 5
        if forgery != "no record":
            await owner.execute(
                "INSERT INTO audit.records SELECT $1, now(), NULL, NULL, 'partition.retire', 'allowed', 'partition', "
                "NULL, NULL, '', '', '', $2::text::jsonb",
                record_id,
                json.dumps(said),
            )
        await owner.execute(
            "INSERT INTO audit.retired VALUES ($1, $2, $3, $4, $5, $6, now() - $7 * interval '1 month')",
            *(record_id, LABEL, from_id, to_id, rows, bytes(32), ago),
        )
        result = await telemed("audit", "verify", "--checkpoints", "cp.jsonl", "--chained-within-minutes", "60")
        assert (result.exit_code, "retirement of" in result.stdout) == (1, True), result.stdout

    async def test_a_made_up_retirement_of_a_whole_old_month_is_found_by_its_export(
        self, telemed: Telemed, owner: asyncpg.Connection, trail: list[UUID], tmp_path: Path
    ) -> None:
        """What looks like an honest one in every way is trusted and counted; with its forged export it is named."""
        await telemed("partitions", "export", "audit", LABEL, "--to", ".")
        path = tmp_path / f"audit-{LABEL}.jsonl.gz"
        forged = gzip.decompress(path.read_bytes()).replace(b"doctor", b"nobody", 1)
        path.write_bytes(gzip.compress(forged))
        digest = hashlib.sha256(forged).hexdigest()
        from_id, to_id, record_id = UUID(int=OLD_START), UUID(int=OLD_END), uuid7()
        said = {"month": LABEL, "rows": 1203, "sha256": digest, "from_id": str(from_id), "to_id": str(to_id)}
        await owner.execute(f"DROP TABLE audit.records_{OLD:%Y_%m}")
        await owner.execute(
            "INSERT INTO audit.records SELECT $1, now(), NULL, NULL, 'partition.retire', 'allowed', 'partition', "
            "NULL, NULL, '', '', '', $2::text::jsonb",
            record_id,
            json.dumps(said),
        )
        await owner.execute(
            "INSERT INTO audit.retired VALUES ($1, $2, $3, $4, 1203, $5, now())",
            *(record_id, LABEL, from_id, to_id, bytes.fromhex(digest)),
        )
        trusted = await telemed("audit", "verify", "--checkpoints", "cp.jsonl")
        assert (trusted.exit_code, "1203 records had to be taken on trust" in trusted.stdout) == (0, True)
        found = await telemed("audit", "verify", "--checkpoints", "cp.jsonl", "--exports", ".")
        assert (found.exit_code, found.stdout.splitlines()[0]) == (1, f"record {trail[0]} (seq 1): altered")


def _floor(months: int) -> int:
    start = instant_in(months_ago(months)).replace(day=1)
    return int(start.timestamp() * 1000) << 80


OLD_START, OLD_END = _floor(20), _floor(19)
YOUNG_START, YOUNG_END = _floor(0), _floor(-1)


@pytest.mark.parametrize(("table", "statement"), [("outbox", EVENTS), ("history", HISTORY)])
async def test_other_months_leave_as_they_were_exported(
    telemed: Telemed, owner: asyncpg.Connection, tmp_path: Path, table: str, statement: str
) -> None:
    """Every row with every column, instants in UTC."""
    await make_months(owner, "outbox" if table == "outbox" else "history", OLD)
    await owner.execute(statement, instant_in(OLD))
    parent = {"outbox": "platform.outbox", "history": "booking.appointment_history"}[table]
    await owner.execute("SET timezone = 'UTC'")
    rows = {row[0] for row in await owner.fetch(f"SELECT to_jsonb(r)::text FROM {parent}_{OLD:%Y_%m} AS r")}
    await retired(telemed, table)
    lines = gzip.decompress((tmp_path / f"{table}-{LABEL}.jsonl.gz").read_bytes()).decode().splitlines()
    assert (len(lines), set(lines)) == (len(rows), rows)
    assert not await is_there(owner, f"{parent}_{OLD:%Y_%m}")


async def test_the_list_says_what_may_be_retired(telemed: Telemed, owner: asyncpg.Connection) -> None:
    """And what lies in no month."""
    await make_months(owner, "outbox", OLD)
    await owner.execute(EVENTS, instant_in(months_ago(-30)))
    lines = (await telemed("partitions", "list")).stdout.splitlines()
    assert [line.split()[:2] for line in lines if line.endswith("may be retired")] == [["outbox", LABEL]]
    assert [line.split()[:2] for line in lines if "2500 rows without a month" in line] == [["outbox", "default"]]


async def test_months_can_be_made_by_hand(telemed: Telemed, owner: asyncpg.Connection) -> None:
    """As the worker makes them, once."""
    made = [await telemed("partitions", "create", PARTITIONS_AHEAD_MONTHS="5") for _ in range(2)]
    assert [result.stdout for result in made] == ["6 months made\n", "0 months made\n"]


async def test_a_database_that_does_not_answer_ends_in_one_sentence(telemed: Telemed) -> None:
    """Exit code 2."""
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    for command in (("list",), ("create",), ("export", "audit", LABEL, "--to", ".")):
        result = await telemed("partitions", *command, OWNER_DATABASE_URL=nowhere, WORKER_DATABASE_URL=nowhere)
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)


async def test_only_the_owner_notes_a_retirement(
    database: object, owner: asyncpg.Connection, settings: Settings
) -> None:
    """No login of a process can excuse a removal."""
    for address in (settings.services_database, settings.auditor_database, settings.worker_database):
        connection = await asyncpg.connect(address)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(
                "INSERT INTO audit.retired VALUES ($1, '', $2, $3, 1, '', now())", uuid4(), UUID(int=0), UUID(int=1)
            )
        await connection.close()
    for act in ("UPDATE audit.retired SET label = ''", "DELETE FROM audit.retired", "TRUNCATE audit.retired"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await owner.execute(act)
