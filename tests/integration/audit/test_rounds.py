"""The worker's rounds over the chain: whatever is done to the trail is shown, until it is so no more."""

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
from tests.integration.audit.test_commands import Attacker, chain, insert
from tests.support.events import LoggedEvents

from telemed.audit.chain.operations import make_checkpoint
from telemed.audit.chain.rules import GENESIS, chain_hash
from telemed.audit.proof import rounds
from telemed.audit.proof.rounds import VERIFY, Rounds
from telemed.audit.service import SERVICE
from telemed.kernel.resources import Resources, open_resources
from telemed.kernel.settings import Settings

SIZE = 60
Change = Callable[[Attacker], Awaitable[None]]


@pytest.fixture
async def worker(settings: Settings) -> AsyncIterator[Resources]:
    """The resources of a worker process."""
    async with open_resources(settings, constraint_problems={}, database=settings.worker_database) as opened:
        yield opened


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 25 links, so that a round is three of them."""
    monkeypatch.setattr(rounds, "_AT_ONCE", 25)
    monkeypatch.setattr(rounds, "_BETWEEN_TURNS", 10)


@pytest.fixture
async def attacker(owner: asyncpg.Connection, worker: Resources) -> Attacker:
    """Comes to a database of SIZE chained records, of which all but ten are in a checkpoint."""
    await insert(owner, SIZE - 10)
    await chain(worker)
    assert await worker.db.transact(make_checkpoint, now=worker.clock.now(), is_asked_for=True)
    await insert(owner, 10)
    await chain(worker)
    return Attacker(owner)


async def round_of(resources: Resources) -> tuple[float | None, float | None]:
    """Go on to the end of a round; gives how many breaks are shown, and how many links were looked at."""
    while True:
        await VERIFY.run(resources)
        if resources.parts[Rounds].is_between_rounds:
            break
    return shown(resources, "breaks"), shown(resources, "verified_records")


def shown(resources: Resources, what: str) -> float | None:
    """Give the value of a gauge."""
    return resources.metrics.registry.get_sample_value(f"telemed_audit_chain_{what}")


def test_the_audit_service_goes_its_rounds() -> None:
    """The worker runs what the service declares."""
    assert VERIFY in SERVICE.jobs


@pytest.mark.usefixtures("attacker")
async def test_an_honest_chain_has_no_breaks(owner: asyncpg.Connection, worker: Resources) -> None:
    """Round after round, also when it grows in between and on the way."""
    assert await round_of(worker) == (0, SIZE)
    await insert(owner, 3)
    await chain(worker)
    await VERIFY.run(worker)
    assert (shown(worker, "breaks"), shown(worker, "verified_records")) == (0, 25)
    await insert(owner, 30)
    await chain(worker)
    await worker.db.transact(make_checkpoint, now=worker.clock.now(), is_asked_for=True)
    assert await round_of(worker) == (0, SIZE + 33)
    assert (shown(worker, "verified_timestamp_seconds") or 0) > worker.clock.now().timestamp() - 60


async def test_an_empty_chain_has_no_breaks(worker: Resources) -> None:
    """A platform that has just been installed."""
    assert await round_of(worker) == (0, 0)


async def altered_record(attacker: Attacker) -> None:
    await attacker.do("UPDATE audit.records SET outcome = 'denied' WHERE id = $1", await attacker.record_at(7))


async def deleted_record(attacker: Attacker) -> None:
    await attacker.do("DELETE FROM audit.records WHERE id = $1", await attacker.record_at(30))


async def swapped_records(attacker: Attacker) -> None:
    await attacker.do("CREATE TEMP TABLE swapped AS SELECT * FROM audit.chain WHERE seq IN (5, 9)")
    await attacker.do("DELETE FROM audit.chain WHERE seq IN (5, 9)")
    await attacker.do(
        "INSERT INTO audit.chain SELECT 14 - seq, record_id, record_hash, chain_hash, chained_at FROM swapped"
    )


async def altered_link(attacker: Attacker) -> None:
    await attacker.do("UPDATE audit.chain SET chain_hash = $1 WHERE seq = 25", chain_hash(GENESIS, 25, GENESIS))


async def altered_last_link(attacker: Attacker) -> None:
    await attacker.do("UPDATE audit.chain SET chain_hash = $1 WHERE seq = $2", GENESIS, SIZE)


async def deleted_link(attacker: Attacker) -> None:
    await attacker.do("DELETE FROM audit.chain WHERE seq = 26")


async def deleted_beginning(attacker: Attacker) -> None:
    await attacker.do("DELETE FROM audit.chain WHERE seq <= 3")


async def cut_tail(attacker: Attacker) -> None:
    await attacker.do("DELETE FROM audit.chain WHERE seq > 57")


async def cut_tail_with_its_head(attacker: Attacker) -> None:
    """Below the checkpoint, which still knows."""
    await attacker.do("DELETE FROM audit.chain WHERE seq > 43")
    await attacker.do(
        "UPDATE audit.chain_head SET (seq, chain_hash) = (SELECT seq, chain_hash FROM audit.chain WHERE seq = 43)"
    )


async def emptied(attacker: Attacker) -> None:
    await attacker.do("TRUNCATE audit.records, audit.chain, audit.unchained")


async def altered_checkpoint(attacker: Attacker) -> None:
    await attacker.do("UPDATE audit.checkpoints SET chain_hash = $1", GENESIS)


CHANGES = (
    altered_record,
    deleted_record,
    swapped_records,
    altered_link,
    altered_last_link,
    deleted_link,
    deleted_beginning,
    cut_tail,
    cut_tail_with_its_head,
    emptied,
    altered_checkpoint,
)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("is_new", [True, False], ids=["a worker that begins", "a worker that has seen it whole"])
async def test_whatever_is_done_to_the_trail_is_shown(
    change: Change, is_new: bool, attacker: Attacker, worker: Resources, events: LoggedEvents
) -> None:
    """In the round that comes to it, and in each one after it."""
    if not is_new:
        assert await round_of(worker) == (0, SIZE)
    await change(attacker)
    first, _ = await round_of(worker)
    second, _ = await round_of(worker)
    assert first == second
    assert (first or 0) > 0
    assert events.named("chain.broken")


async def test_a_rewritten_chain_is_shown_by_a_worker_that_knew_another(attacker: Attacker, worker: Resources) -> None:
    """With head, checkpoints and all: only a process that has seen the old end can tell, and it does until it ends."""
    await round_of(worker)
    await altered_record(attacker)
    await attacker.recompute()
    await chain(worker)
    for _ in range(2):
        breaks, looked_at = await round_of(worker)
        assert (breaks, looked_at) == (1, SIZE)


async def test_breaks_are_shown_until_a_whole_round_is_clean(attacker: Attacker, worker: Resources) -> None:
    """Half a round without a break proves nothing."""
    record_id = await attacker.record_at(40)
    await attacker.do("UPDATE audit.records SET client_address = '10.0.0.2' WHERE id = $1", record_id)
    assert await round_of(worker) == (1, SIZE)
    await attacker.do("UPDATE audit.records SET client_address = '10.0.0.1' WHERE id = $1", record_id)
    await VERIFY.run(worker)
    assert shown(worker, "breaks") == 1
    assert await round_of(worker) == (0, SIZE)


async def test_a_flood_of_breaks_is_no_flood_of_log_lines(
    attacker: Attacker, worker: Resources, events: LoggedEvents
) -> None:
    """The number says the rest."""
    await attacker.do("UPDATE audit.records SET action = 'x.y'")
    assert await round_of(worker) == (SIZE, SIZE)
    assert len(events.named("chain.broken")) == 20


async def test_a_step_that_fails_shows_nothing_new(
    attacker: Attacker, worker: Resources, owner: asyncpg.Connection
) -> None:
    """Neither a break nor a look that did not take place; the next step goes on where the last one ended."""
    await altered_record(attacker)
    await VERIFY.run(worker)
    before = [shown(worker, what) for what in ("breaks", "verified_records", "verified_timestamp_seconds")]
    await owner.execute("ALTER TABLE audit.chain RENAME TO chain_away")
    with pytest.raises(Exception, match="chain"):
        await VERIFY.run(worker)
    assert [shown(worker, what) for what in ("breaks", "verified_records", "verified_timestamp_seconds")] == before
    await owner.execute("ALTER TABLE audit.chain_away RENAME TO chain")
    assert await round_of(worker) == (1, SIZE)
