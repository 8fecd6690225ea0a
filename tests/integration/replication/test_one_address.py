"""One address behind which several replicas stand, as behind the ro pooler of CloudNativePG: they take turns.

PgBouncer is the real one with the repository's configuration; in front of the replicas stands a forwarder that gives
each new connection to the next of them, as the Service of the replicas does.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest
from pydantic import SecretStr
from tests.integration.replication.conftest import Replication, Served
from tests.servers import server_folder
from tests.support.clinic import Clinic, doctor_card
from tests.support.databases import TestDatabase
from tests.support.people import People, User
from tests.support.programs import require_program
from tests.support.proxy import Proxy
from tests.support.settings import make_settings
from tests.support.waiting import until
from tests.twin.poolers import Pooler, Target, verifiers_of
from tests.twin.postgres import Node

from telemed.kernel.replication.tokens import HEADER
from telemed.kernel.resources import Resources
from telemed.kernel.settings import Settings
from telemed.local import roles
from telemed.local.account import server_account
from telemed.local.processes import free_port

SERVER_CONNECTIONS = 8
# As in charts/telemed-data (poolers.ro.parameters): transactions take turns over the server connections.
TURNS = {"server_round_robin": "1", "default_pool_size": str(SERVER_CONNECTIONS)}


class InTurn(Proxy):
    """A Service with several endpoints: each new connection leads to the next."""

    def __init__(self, ports: list[int]) -> None:
        super().__init__(ports[0])
        self._ports = itertools.cycle(ports)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server_port = next(self._ports)
        await super()._accept(reader, writer)


@dataclass(frozen=True)
class OneAddress:
    """Where the application finds all replicas."""

    url: str

    async def open_everywhere(self) -> set[int]:
        """Let the pooler open every server connection that it may have; tell who is behind them."""
        clients = [await asyncpg.connect(self.url, statement_cache_size=0) for _ in range(SERVER_CONNECTIONS)]
        try:
            for client in clients:
                await client.execute("BEGIN")
            ports = {await client.fetchval("SELECT current_setting('port')::integer") for client in clients}
            for client in clients:
                await client.execute("COMMIT")  # or the pooler would close what it cannot know to be clean
            return ports
        finally:
            for client in clients:
                await client.close()


@pytest.fixture
async def one_address(replication: Replication) -> AsyncIterator[OneAddress]:
    program = require_program("pgbouncer")
    service = InTurn([node.port or 0 for node in replication.replicas])
    await service.start()
    verifiers = await verifiers_of(replication.primary, ("telemed_api",))
    with server_folder("telemed-one-address-") as (folder, guard):
        pooler = Pooler(
            "pooler-ro",
            "pgbouncer-ro.ini",
            folder / "pooler",
            guard,
            server_account(),
            port=free_port(),
            targets={roles.DATABASE: Target("127.0.0.1", service.port, roles.DATABASE)},
            verifiers=verifiers,
            changes=TURNS,
            program=program,
        )
        await pooler.start()
        password = replication.cluster.passwords["telemed_api"]
        lent = OneAddress(f"postgresql://telemed_api:{password}@127.0.0.1:{pooler.port}/{roles.DATABASE}")
        assert await lent.open_everywhere() == {node.port for node in replication.replicas}
        yield lent
    await service.close()


@pytest.fixture
def times_listed() -> int:
    """How often REPLICA_DATABASE_URLS names the address."""
    return 1


@pytest.fixture
def settings(
    database: TestDatabase,
    redis_url: str,
    one_address: OneAddress,
    times_listed: int,
    more_settings: dict[str, object],
) -> Settings:
    urls = {"replica_database_urls": [SecretStr(one_address.url)] * times_listed}
    return make_settings(database, redis_url, **(urls | more_settings))


@pytest.fixture
def held_back(replication: Replication) -> Node:
    return replication.replicas[0]


@pytest.fixture
async def doctor(served: Served, clinic: Clinic, replication: Replication, held_back: Node) -> User:
    """Known to both replicas, of which one replays nothing from here on."""
    known = await clinic.doctor()
    await replication.caught_up()
    await held_back.pause_replay()
    return known


async def test_every_own_write_is_seen_whoever_is_asked(served: Served, doctor: User, people: People) -> None:
    """The replica that answers is the one whose position was looked at, as both happens in one transaction."""
    for number in range(10):
        bio = f"Number {number}."
        token = (await doctor.put("/booking/doctors/me", doctor_card(bio=bio))).headers[HEADER]
        for _ in range(4):
            shown = await people.nobody.get(f"/booking/doctors/{doctor.id}", headers={HEADER: token})
            assert shown.json()["bio"] == bio
    assert served.by("replica")["near"] > 5, "the fresh one was never asked, so this test shows nothing"
    assert served.by("primary")["behind"] > 5, "the one that is held back was never asked, so this test shows nothing"


async def test_at_once_as_well_as_one_after_the_other(served: Served, doctor: User, people: People) -> None:
    """Many readers share the pooler's connections."""
    token = (await doctor.put("/booking/doctors/me", doctor_card(bio="Mine."))).headers[HEADER]
    path, headers = f"/booking/doctors/{doctor.id}", {HEADER: token}
    for _ in range(5):
        shown = await asyncio.gather(*(people.nobody.get(path, headers=headers) for _ in range(12)))
        # Too many for the primary are refused; nobody is shown less than they wrote.
        assert {reply.json()["bio"] for reply in shown if reply.status_code == 200} == {"Mine."}
        assert {reply.status_code for reply in shown} <= {200, 503}
    assert served.by("replica")["near"] > 5


@pytest.mark.parametrize("more_settings", [{"replica_max_lag_seconds": 1.5}])
async def test_the_greatest_lag_holds_whoever_is_asked(
    served: Served, doctor: User, people: People, resources: Resources
) -> None:
    """Also those who have written nothing are spared a state of long ago, of the one replica that has only that."""
    await doctor.put("/booking/doctors/me", doctor_card(bio="Fresh."))

    async def shown() -> str:
        return str((await people.nobody.get(f"/booking/doctors/{doctor.id}")).json()["bio"])

    async def is_turned_away() -> bool:
        await shown()
        return served.by("primary").get("behind", 0) > 0

    await until(is_turned_away, within_seconds=15)
    before = served.by("replica")["near"]
    assert [await shown() for _ in range(20)] == ["Fresh."] * 20
    assert served.by("replica")["near"] > before, "the fresh one was never asked, so this test shows nothing"


async def test_without_a_primary_the_age_is_that_of_who_answered(
    doctor: User, people: People, replication: Replication, resources: Resources
) -> None:
    """Two replicas of different age take turns; each reply carries its own."""
    loop = asyncio.get_running_loop()
    await doctor.put("/booking/doctors/me", doctor_card(bio="Fresh."))
    written_at = loop.time()
    await until(lambda: loop.time() - written_at > 4, within_seconds=10)
    await replication.primary.kill()
    await until(lambda: resources.db.availability.is_down, within_seconds=15)
    seen = set()
    for _ in range(12):
        reply = await people.nobody.get(f"/booking/doctors/{doctor.id}")
        is_fresh = reply.json()["bio"] == "Fresh."
        seen.add(is_fresh)
        assert is_fresh or int(reply.headers["Age"]) >= int(loop.time() - written_at) - 1
    assert seen == {True, False}, "only one of them was asked, so this test shows nothing"


@pytest.mark.parametrize("times_listed", [2])
async def test_an_address_that_is_listed_twice_is_asked_twice(served: Served, doctor: User, people: People) -> None:
    """The second time another replica has its turn: one that lags does not send half of the reads to the primary."""
    token = (await doctor.put("/booking/doctors/me", doctor_card(bio="Mine."))).headers[HEADER]
    for _ in range(40):
        shown = await people.nobody.get(f"/booking/doctors/{doctor.id}", headers={HEADER: token})
        assert shown.json()["bio"] == "Mine."
    by_replicas = served.by("replica")["near"]
    assert by_replicas >= 30, "more than half: with one mention it would be 20"
    assert by_replicas + served.by("primary").get("behind", 0) == 40


@pytest.mark.parametrize("times_listed", [2])
async def test_a_frozen_replica_behind_the_address_stops_nobody(
    served: Served, clinic: Clinic, people: People, replication: Replication, held_back: Node
) -> None:
    """Whoever meets it is answered by another, and its connections are given up one by one."""
    doctor = await clinic.doctor()
    token = (await doctor.put("/booking/doctors/me", doctor_card(bio="Mine."))).headers[HEADER]
    await replication.caught_up()
    held_back.freeze()
    for _ in range(20):
        shown = await people.nobody.get(f"/booking/doctors/{doctor.id}", headers={HEADER: token})
        assert (shown.status_code, shown.json().get("bio")) == (200, "Mine.")
