"""`telemed audit`: an owner of the database tampers, and an exported checkpoint tells."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.support.platform import environment_of
from typer.testing import CliRunner, Result

from telemed.audit.chain.jobs import JOBS
from telemed.audit.chain.rules import GENESIS, chain_hash
from telemed.audit.commands import audit_app
from telemed.kernel.clock import SystemClock
from telemed.kernel.ids import uuid7
from telemed.kernel.resources import Resources, open_resources
from telemed.kernel.settings import Settings

SIZE = 60
Telemed = Callable[..., Awaitable[Result]]


@pytest.fixture
async def worker(settings: Settings) -> AsyncIterator[Resources]:
    """The resources of a worker process."""
    async with open_resources(settings, constraint_problems={}, database=settings.worker_database) as opened:
        yield opened


@pytest.fixture
def telemed(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Telemed:
    """Runs `telemed audit …` in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    environment = {name: value for name, value in environment_of(settings).items() if name.endswith(("_URL", "SECRET"))}

    async def run(*arguments: str, **more: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, audit_app, list(arguments), env=environment | more)

    return run


class Attacker:
    """Owns the database: removes the guards and changes what it likes."""

    def __init__(self, owner: asyncpg.Connection) -> None:
        self._owner = owner

    async def do(self, statement: str, *values: object) -> None:
        """Run a statement with every guard removed."""
        months = await self._owner.fetch(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'audit.records'::regclass"
        )
        for table in ("audit.records", "audit.chain", "audit.checkpoints", *(month["name"] for month in months)):
            await self._owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        await self._owner.execute(statement, *values)

    async def recompute(self) -> None:
        """Make chain, head and checkpoints look honest again, over the records as they stand now."""
        links = await self._owner.fetch(
            "SELECT c.seq, r.id FROM audit.chain AS c JOIN audit.records AS r ON r.id = c.record_id ORDER BY c.seq"
        )
        await self.do("TRUNCATE audit.chain")
        await self.do("TRUNCATE audit.checkpoints")
        await self.do("UPDATE audit.chain_head SET seq = 0, chain_hash = $1", GENESIS)
        await self.do("TRUNCATE audit.unchained")
        await self._owner.execute("INSERT INTO audit.unchained SELECT unnest($1::uuid[])", [row["id"] for row in links])

    async def record_at(self, seq: int) -> UUID:
        """Give the id of the record at this place."""
        record_id: UUID = await self._owner.fetchval("SELECT record_id FROM audit.chain WHERE seq = $1", seq)
        return record_id


@pytest.fixture
async def attacker(owner: asyncpg.Connection, worker: Resources, telemed: Telemed) -> Attacker:
    """Comes to a database of SIZE records, of which checkpoints were exported to cp.jsonl."""
    await insert(owner, SIZE)
    await chain(worker)
    exported = await telemed("checkpoint", "--out", "cp.jsonl")
    assert (exported.exit_code, exported.stdout) == (0, "1 checkpoints added to cp.jsonl\n")
    return Attacker(owner)


async def insert(owner: asyncpg.Connection, count: int, *, age: timedelta = timedelta(0)) -> list[UUID]:
    """Commit records of different contents."""
    ids = [uuid7() for _ in range(count)]
    await owner.execute(
        """
        INSERT INTO audit.records
        SELECT id, $2, gen_random_uuid(), 'doctor', 'thing.read', 'allowed', 'thing', NULL, NULL, '', '', '10.0.0.1',
               '{"n": 1.50, "big": 12345678901234567890123, "deep": [null, true, {"ü": "\\u2028"}]}'
        FROM unnest($1::uuid[]) AS id
        """,
        ids,
        SystemClock().now() - age,
    )
    return ids


def files_in(folder: Path) -> list[str]:
    """Give the names of what is there."""
    return [path.name for path in folder.iterdir()]


async def chain(worker: Resources) -> None:
    """Run the chain job until nothing waits."""
    while await JOBS[0].run(worker):
        pass


@pytest.mark.usefixtures("attacker")
async def test_an_untouched_trail_verifies(owner: asyncpg.Connection, worker: Resources, telemed: Telemed) -> None:
    """From the database and from an exported log; newer records are counted apart."""
    await insert(owner, 3)
    await chain(worker)
    await telemed("export", "--out", "log.jsonl")
    for arguments in ((), ("--log", "log.jsonl")):
        result = await telemed("verify", "--checkpoints", "cp.jsonl", *arguments)
        assert (result.exit_code, result.stdout.splitlines()[0]) == (
            0,
            f"INTACT: {SIZE} records, up to seq {SIZE}, are as the checkpoints say",
        )
        assert result.stdout.splitlines()[1].startswith("3 newer records")


@pytest.mark.usefixtures("attacker")
async def test_an_export_goes_through_a_pipe(telemed: Telemed, tmp_path: Path) -> None:
    """Out of a pod, in which nothing can be written: what is said besides goes elsewhere."""
    await telemed("export", "--out", "log.jsonl")
    result = await telemed("export", "--out", "-")
    assert result.exit_code == 0
    assert result.stdout_bytes == (tmp_path / "log.jsonl").read_bytes()
    assert result.stderr == f"{SIZE} records written to -\n"
    assert sorted(files_in(tmp_path)) == ["cp.jsonl", "log.jsonl"]


CHANGES = (
    "action = 'thing.changed'",
    "actor_id = NULL",
    "actor_role = 'admin'",
    "outcome = 'denied'",
    "entity_type = 'x'",
    "entity_id = gen_random_uuid()",
    "patient_id = gen_random_uuid()",
    "request_id = 'x'",
    "trace_id = 'x'",
    "client_address = ''",
    "recorded_at = recorded_at + interval '1 microsecond'",
    "recorded_at = 'infinity'",
    "recorded_at = '0044-03-15 BC'",
    "details = details || '{\"n\": 1.5}'",
    "details = details || '{\"big\": 12345678901234567890124}'",
    "details = '[]'",
)


@pytest.mark.parametrize("recomputes", [False, True])
async def test_altered_records_are_named(
    attacker: Attacker, worker: Resources, telemed: Telemed, recomputes: bool
) -> None:
    """Whatever column, however little, and whether or not the chain was computed anew; every third is altered."""
    altered = {}
    for place, change in enumerate(CHANGES):
        altered[3 * place + 1] = record_id = await attacker.record_at(3 * place + 1)
        await attacker.do(f"UPDATE audit.records SET {change} WHERE id = $1", record_id)
    if recomputes:
        await attacker.recompute()
        await chain(worker)
    result = await telemed("verify", "--checkpoints", "cp.jsonl")
    lines = [f"record {record_id} (seq {seq}): altered" for seq, record_id in altered.items()]
    assert (result.exit_code, result.stdout.splitlines()) == (1, [*lines, f"BROKEN: {len(CHANGES)} findings"])


@pytest.mark.parametrize("recomputes", [False, True])
async def test_a_removed_record_is_named(
    attacker: Attacker, worker: Resources, telemed: Telemed, recomputes: bool
) -> None:
    """Also when every later number was moved up."""
    record_id = await attacker.record_at(17)
    await attacker.do("DELETE FROM audit.records WHERE id = $1", record_id)
    if recomputes:
        await attacker.recompute()
        await chain(worker)
    result = await telemed("verify", "--checkpoints", "cp.jsonl")
    assert result.exit_code == 1
    assert [line.split(";")[0] for line in result.stdout.splitlines()] == [
        f"record {record_id} (seq 17): removed",
        "BROKEN: 1 finding",
    ]


async def test_an_inserted_record_is_named(
    attacker: Attacker, owner: asyncpg.Connection, worker: Resources, telemed: Telemed
) -> None:
    """Put between honest ones, with the whole chain computed anew."""
    before, after = await attacker.record_at(16), await attacker.record_at(17)
    between = UUID(int=(before.int + after.int) // 2)
    (fake,) = await insert(owner, 1)
    await attacker.do("UPDATE audit.records SET id = $2 WHERE id = $1", fake, between)
    await attacker.do("UPDATE audit.unchained SET record_id = $2 WHERE record_id = $1", fake, between)
    await chain(worker)
    await attacker.recompute()
    await chain(worker)
    result = await telemed("verify", "--checkpoints", "cp.jsonl")
    assert result.stdout == f"record {between} (seq 17): inserted\nBROKEN: 1 finding\n"


async def test_reordered_records_are_named(attacker: Attacker, telemed: Telemed) -> None:
    """Two that were swapped in the chain."""
    first, second = await attacker.record_at(5), await attacker.record_at(9)
    await attacker.do("CREATE TEMP TABLE swapped AS SELECT * FROM audit.chain WHERE seq IN (5, 9)")
    await attacker.do("DELETE FROM audit.chain WHERE seq IN (5, 9)")
    await attacker.do(
        "INSERT INTO audit.chain SELECT 14 - seq, record_id, record_hash, chain_hash, chained_at FROM swapped"
    )
    result = await telemed("verify", "--checkpoints", "cp.jsonl")
    assert result.stdout.splitlines() == [
        f"record {first} (seq 5): reordered; stands at seq 9",
        f"record {second} (seq 9): reordered; stands at seq 5",
        "BROKEN: 2 findings",
    ]


async def test_a_cut_tail_is_named(attacker: Attacker, worker: Resources, telemed: Telemed) -> None:
    """With the place of the cut."""
    await attacker.do("DELETE FROM audit.records WHERE id IN (SELECT record_id FROM audit.chain WHERE seq > 43)")
    await attacker.recompute()
    await chain(worker)
    result = await telemed("verify", "--checkpoints", "cp.jsonl")
    assert result.exit_code == 1
    assert result.stdout.startswith("tail cut after seq 43: 17 records of the checkpoint are missing")


async def test_an_emptied_trail_is_named(attacker: Attacker, telemed: Telemed) -> None:
    """Nothing left at all."""
    await attacker.do("TRUNCATE audit.records, audit.chain, audit.checkpoints, audit.unchained")
    result = await telemed("verify", "--checkpoints", "cp.jsonl")
    assert result.stdout.startswith(f"tail cut after seq 0: {SIZE} records")


async def test_a_record_that_came_in_past_the_chain_is_named(
    attacker: Attacker, owner: asyncpg.Connection, telemed: Telemed
) -> None:
    """It stands among the records, but is in no chain and in no queue."""
    await attacker.do("SELECT 1")  # the trigger that queues is gone, too
    (past,) = await insert(owner, 1)
    result = await telemed("verify", "--checkpoints", "cp.jsonl")
    assert result.exit_code == 1
    assert result.stdout.startswith(f"record {past}: not chained; recorded at ")
    assert "it came in past the chain\nBROKEN: 1 finding\n" in result.stdout


@pytest.mark.usefixtures("attacker")
async def test_a_record_that_waits_too_long_for_the_chain_is_named(owner: asyncpg.Connection, telemed: Telemed) -> None:
    """A young one is not: the worker may be a moment behind."""
    (waiting,) = await insert(owner, 1, age=timedelta(hours=1))
    await insert(owner, 1)
    result = await telemed("verify", "--checkpoints", "cp.jsonl")
    assert result.exit_code == 1
    assert result.stdout.startswith(f"record {waiting}: not chained; recorded at ")
    assert "it still waits in the queue\nBROKEN: 1 finding\n" in result.stdout


async def test_an_altered_link_is_noticed(attacker: Attacker, telemed: Telemed) -> None:
    """The records are what they were, but the chain is not."""
    await attacker.do("UPDATE audit.chain SET chain_hash = $1 WHERE seq = 8", chain_hash(GENESIS, 8, GENESIS))
    result = await telemed("verify", "--checkpoints", "cp.jsonl")
    assert (result.exit_code, result.stdout.count("chain broken")) == (1, 2)


async def test_an_exported_log_is_checked_like_the_database(
    attacker: Attacker, telemed: Telemed, tmp_path: Path
) -> None:
    """Line by line."""
    record_id = await attacker.record_at(3)
    await telemed("export", "--out", "log.jsonl")
    log = tmp_path / "log.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    lines[2] = lines[2].replace('"n":1.50', '"n":1.5')
    log.write_text("".join(lines))
    result = await telemed("verify", "--checkpoints", "cp.jsonl", "--log", "log.jsonl")
    assert result.stdout == f"record {record_id} (seq 3): altered\nBROKEN: 1 finding\n"


async def test_a_part_of_the_log_is_checked_with_its_part_of_the_checkpoints(
    attacker: Attacker, telemed: Telemed
) -> None:
    """Named on purpose; without the option the missing head counts as removed."""
    await telemed("export", "--out", "log.jsonl", "--since-seq", "31")
    part = await telemed("verify", "--checkpoints", "cp.jsonl", "--log", "log.jsonl", "--since-seq", "31")
    whole = await telemed("verify", "--checkpoints", "cp.jsonl", "--log", "log.jsonl")
    assert part.stdout.startswith("INTACT: 30 records")
    assert whole.stdout.count("removed") == 30
    assert str(await attacker.record_at(1)) in whole.stdout


@pytest.mark.usefixtures("attacker")
async def test_checkpoints_are_appended(
    owner: asyncpg.Connection, worker: Resources, telemed: Telemed, tmp_path: Path
) -> None:
    """What is in the file stays, byte for byte, and nothing is added twice."""
    before = (tmp_path / "cp.jsonl").read_bytes()
    assert (await telemed("checkpoint", "--out", "cp.jsonl")).stdout.startswith("0 ")
    await insert(owner, 2)
    await chain(worker)
    assert (await telemed("checkpoint", "--out", "cp.jsonl")).stdout.startswith("1 ")
    after = (tmp_path / "cp.jsonl").read_bytes()
    assert after.startswith(before)
    assert (await telemed("verify", "--checkpoints", "cp.jsonl")).stdout.startswith(f"INTACT: {SIZE + 2} records")


async def test_a_file_that_disagrees_is_not_written(
    attacker: Attacker, worker: Resources, telemed: Telemed, tmp_path: Path
) -> None:
    """An altered database must not launder itself into the file."""
    before = (tmp_path / "cp.jsonl").read_bytes()
    await attacker.do("UPDATE audit.records SET action = 'x.y' WHERE id = $1", await attacker.record_at(2))
    await attacker.recompute()
    await chain(worker)
    result = await telemed("checkpoint", "--out", "cp.jsonl")
    assert (result.exit_code, "another chain hash" in result.stderr) == (1, True)
    assert (tmp_path / "cp.jsonl").read_bytes() == before
    assert files_in(tmp_path) == ["cp.jsonl"]


BAD_FILES = (
    (None, "cannot be read"),
    (b"\x00\xff garbage\n", "line 1"),
    (b"{}\n", "line 1"),
    (b"[" * 100_000 + b"\n", "line 1"),
    (b"x" * 2_000_000, "longer than any line"),
    (b'{"seq":1', "ends in the middle"),
    (b'{"seq":1e999999,"record_id":1,"record_hash":"","chain_hash":"","record":{}}\n', "line 1"),
)


@pytest.mark.parametrize("option", ["--checkpoints", "--log"])
@pytest.mark.usefixtures("attacker")
async def test_a_bad_file_ends_in_one_sentence(telemed: Telemed, tmp_path: Path, option: str) -> None:
    """Exit code 2, and no traceback."""
    arguments = {"--checkpoints": "cp.jsonl"} | {option: "bad"}
    for content, words in BAD_FILES:
        if content is not None:
            (tmp_path / "bad").write_bytes(content)
        result = await telemed("verify", *[part for pair in arguments.items() for part in pair])
        assert (result.exit_code, result.stdout) == (2, ""), content
        assert words in result.stderr
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.usefixtures("attacker")
async def test_a_checkpoint_file_that_was_tampered_with_is_refused(telemed: Telemed, tmp_path: Path) -> None:
    """Its own hashes do not add up any more."""
    file = tmp_path / "cp.jsonl"
    text = file.read_text()
    place = text.index('"leaves"') + 60
    file.write_text(text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :])
    result = await telemed("verify", "--checkpoints", "cp.jsonl")
    assert (result.exit_code, "line 1" in result.stderr) == (2, True)


@pytest.mark.usefixtures("attacker")
async def test_signed_checkpoints_are_believed_and_no_others(telemed: Telemed, tmp_path: Path) -> None:
    """Whoever can write the file, but has no key, cannot make it say something else."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    key = {"AUDIT_SIGNING_KEY_FILE": "key.pem"}
    (tmp_path / "key.pub").write_text((await telemed("public-key", **key)).stdout)
    await telemed("checkpoint", "--out", "signed.jsonl", **key)
    signed = await telemed("verify", "--checkpoints", "signed.jsonl", "--public-key", "key.pub")
    assert (signed.exit_code, signed.stdout.startswith("INTACT")) == (0, True)
    unsigned = await telemed("verify", "--checkpoints", "cp.jsonl", "--public-key", "key.pub")
    assert (unsigned.exit_code, unsigned.stderr) == (2, "cp.jsonl, line 1: it is not signed.\n")
    forged = (tmp_path / "signed.jsonl").read_text().replace('"made_at":"20', '"made_at":"19')
    (tmp_path / "forged.jsonl").write_text(forged)
    refused = await telemed("verify", "--checkpoints", "forged.jsonl", "--public-key", "key.pub")
    assert (refused.exit_code, refused.stderr) == (2, "forged.jsonl, line 1: it is not signed with this key.\n")


@pytest.mark.usefixtures("attacker")
@pytest.mark.parametrize(
    "content", [None, b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
async def test_a_bad_key_ends_in_one_sentence(telemed: Telemed, tmp_path: Path, content: bytes | None) -> None:
    """Exit code 2."""
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    for result in (
        await telemed("verify", "--checkpoints", "cp.jsonl", "--public-key", "key"),
        await telemed("checkpoint", "--out", "other.jsonl", AUDIT_SIGNING_KEY_FILE="key"),
        await telemed("public-key", AUDIT_SIGNING_KEY_FILE="key"),
    ):
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)


async def test_an_empty_checkpoint_file_proves_nothing(telemed: Telemed, tmp_path: Path) -> None:
    """And is said to."""
    (tmp_path / "cp.jsonl").touch()
    result = await telemed("verify", "--checkpoints", "cp.jsonl")
    assert (result.exit_code, result.stderr) == (2, "cp.jsonl holds no checkpoint.\n")


async def test_a_database_that_does_not_answer_ends_in_one_sentence(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Exit code 2."""
    monkeypatch.chdir(tmp_path)
    environment = environment_of(settings) | {"AUDITOR_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    result = await asyncio.to_thread(CliRunner().invoke, audit_app, ["export", "--out", "log.jsonl"], env=environment)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert files_in(tmp_path) == []
