"""Slowing down whoever guesses, and nobody else."""

import asyncio
from datetime import timedelta

import asyncpg
import httpx
import pytest
from tests.integration.auth.conftest import Account, At, new_email, unused_address
from tests.support.databases import TestDatabase
from tests.support.people import Caller

from telemed.auth.throttling.operations import forget_old
from telemed.auth.throttling.rules import ADDRESS, ELSEWHERE, PAIR
from telemed.kernel.clock import ManualClock
from telemed.kernel.resources import Resources


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """The jobs look at everything."""
    return fresh_database


async def statuses(caller: Caller, body: dict[str, str], times: int) -> list[int]:
    return [(await caller.post("/auth/login", body)).status_code for _ in range(times)]


async def test_too_many_failures_block_for_a_moment(home: Caller, account: Account, clock: ManualClock) -> None:
    """Also the right password, and the answer says until when; after that it works and all is forgotten."""
    assert await statuses(home, account.wrong, PAIR.failures) == [401] * PAIR.failures
    blocked = await home.post("/auth/login", account.right)
    assert (blocked.status_code, blocked.json()["type"]) == (429, "too-many-attempts")
    assert int(blocked.headers["Retry-After"]) == 60
    clock.advance(timedelta(seconds=int(blocked.headers["Retry-After"])))
    assert await statuses(home, account.right, 1) == [200]
    assert await statuses(home, account.wrong, PAIR.failures) == [401] * PAIR.failures


async def test_attempts_while_blocked_do_not_prolong_the_block(
    home: Caller, account: Account, clock: ManualClock
) -> None:
    """Whoever hammers on is let in no later."""
    await statuses(home, account.wrong, PAIR.failures)
    assert set(await statuses(home, account.wrong, 50)) == {429}
    clock.advance(PAIR.one_more_every)
    assert await statuses(home, account.right, 1) == [200]


async def test_successes_do_not_count(home: Caller, account: Account) -> None:
    """One may log in as often as one likes, also between failures."""
    assert set(await statuses(home, account.right, 2 * PAIR.failures)) == {200}
    for _ in range(3):
        assert await statuses(home, account.wrong, PAIR.failures - 1) == [401] * (PAIR.failures - 1)
        assert await statuses(home, account.right, 1) == [200]


async def test_unknown_addresses_are_throttled_like_known_ones(home: Caller, account: Account) -> None:
    """The sequence of answers does not tell whether there is an account, nor does the waiting time."""
    known = [await home.post("/auth/login", account.wrong) for _ in range(13)]
    nobody = {"email": new_email(), "password": "wrong"}
    unknown = [await home.post("/auth/login", nobody) for _ in range(13)]

    def seen(replies: list[httpx.Response]) -> list[tuple[int, str | None]]:
        return [(reply.status_code, reply.headers.get("Retry-After")) for reply in replies]

    assert seen(known) == seen(unknown)
    assert seen(known)[-1] == (429, "60")


async def test_guesses_sent_at_once_are_all_counted(home: Caller, account: Account) -> None:
    """The limit holds for a hundred requests in one instant: each is counted before its password is compared."""
    replies = await asyncio.gather(*(home.post("/auth/login", account.wrong) for _ in range(100)))
    compared = sum(reply.status_code == 401 for reply in replies)
    assert compared == PAIR.failures
    assert {reply.status_code for reply in replies} <= {401, 429, 503}


async def test_nobody_elsewhere_can_keep_the_holder_out(at: At, home: Caller, account: Account) -> None:
    """However many machines fail, at the address where one registered or logged in before one logs in."""
    attackers = [await at(unused_address()) for _ in range(5)]
    refused = [status for attacker in attackers for status in await statuses(attacker, account.wrong, PAIR.failures)]
    assert refused.count(401) == ELSEWHERE.failures
    assert refused.count(429) == 5 * PAIR.failures - ELSEWHERE.failures
    assert await statuses(home, account.right, 1) == [200]


async def test_at_a_new_address_one_waits_no_longer_than_the_block(
    at: At, account: Account, clock: ManualClock
) -> None:
    """Under attack, a holder who comes from somewhere new is asked to wait for minutes, not for good."""
    for _ in range(3):
        await statuses(await at(unused_address()), account.wrong, PAIR.failures)
    new_phone = await at(unused_address())
    blocked = await new_phone.post("/auth/login", account.right)
    assert blocked.status_code == 429
    clock.advance(timedelta(seconds=int(blocked.headers["Retry-After"])))
    assert await statuses(new_phone, account.right, 1) == [200]
    await statuses(await at(unused_address()), account.wrong, PAIR.failures)
    assert await statuses(new_phone, account.right, 1) == [200], "known from then on"


async def test_refreshing_makes_an_address_known(at: At, home: Caller, account: Account) -> None:
    """A phone that moves from network to network shows its refresh token, and stays welcome."""
    token = (await home.post("/auth/login", account.right)).json()["refresh_token"]
    train = await at(unused_address())
    assert (await train.post("/auth/refresh", {"refresh_token": token})).status_code == 200
    for _ in range(4):
        await statuses(await at(unused_address()), account.wrong, PAIR.failures)
    assert await statuses(train, account.right, 1) == [200]


async def test_one_address_that_tries_many_accounts_is_stopped(at: At, account: Account) -> None:
    """Guessing one password for everybody is counted by address."""
    machine = await at(unused_address())
    seen = []
    for _ in range(ADDRESS.failures + 1):
        seen += await statuses(machine, {"email": new_email(), "password": "wrong"}, 1)
    assert seen == [401] * ADDRESS.failures + [429]
    assert await statuses(machine, account.wrong, 1) == [429]


async def test_a_clinic_behind_one_address_works(home: Caller, account: Account) -> None:
    """Somebody there fails for everybody; who has logged in from there before still does."""
    for _ in range(ADDRESS.failures):
        await home.post("/auth/login", {"email": new_email(), "password": "wrong"})
    assert await statuses(home, {"email": new_email(), "password": "wrong"}, 1) == [429]
    assert await statuses(home, account.right, 3) == [200] * 3


async def test_a_subscriber_of_ipv6_is_one_address(at: At, account: Account) -> None:
    """All 2^64 addresses of a prefix share the count."""
    seen = []
    for number in range(PAIR.failures + 2):
        seen += await statuses(await at(f"2001:db8:7:{account.id[:4]}::{number}"), account.wrong, 1)
    assert seen == [401] * PAIR.failures + [429] * 2


async def test_a_refusal_is_recorded(home: Caller, account: Account, owner: asyncpg.Connection) -> None:
    """A block is a denial in the trail."""
    await statuses(home, account.wrong, PAIR.failures)
    blocked = await home.post("/auth/login", account.wrong)
    record = await owner.fetchrow(
        "SELECT action, outcome, details FROM audit.records WHERE request_id = $1", blocked.headers["X-Request-ID"]
    )
    assert record is not None
    assert tuple(record) == ("session.login", "denied", '{"reason": "too-many-attempts"}')


async def test_the_tables_name_nobody(at: At, account: Account, owner: asyncpg.Connection) -> None:
    """Neither mails nor addresses can be read from them."""
    network = unused_address()
    guest = await at(network)
    await statuses(guest, account.wrong, 2)
    await statuses(guest, account.right, 1)
    rows = await owner.fetch("SELECT bucket AS a, ''::bytea AS b FROM auth.login_buckets")
    rows += await owner.fetch("SELECT account AS a, address AS b FROM auth.known_addresses")
    stored = b"".join(row["a"] + row["b"] for row in rows)
    assert account.email.encode() not in stored
    assert network.encode() not in stored
    assert all(len(row["a"]) >= 32 for row in rows)


async def test_old_counts_are_forgotten(
    home: Caller,
    account: Account,
    owner: asyncpg.Connection,
    clock: ManualClock,
    worker_resources: Resources,
) -> None:
    """The worker's job, under the worker's role, deletes what no longer says anything."""
    await statuses(home, account.wrong, 2)
    before = await owner.fetchval("SELECT count(*) FROM auth.known_addresses")
    clock.advance(timedelta(hours=1))
    assert await forget_old(worker_resources) > 0
    assert await owner.fetchval("SELECT count(*) FROM auth.login_buckets WHERE clears_at < $1", clock.now()) == 0
    assert await owner.fetchval("SELECT count(*) FROM auth.known_addresses") == before
    clock.advance(timedelta(days=91))
    await forget_old(worker_resources)
    assert await owner.fetchval("SELECT count(*) FROM auth.known_addresses") == 0
