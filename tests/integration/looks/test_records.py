"""The record of a look and its answer stand or fall together: no record, no answer."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.integration.looks.conftest import SECRETS, Scene
from tests.support.databases import TestDatabase
from tests.support.events import LoggedEvents
from tests.support.proxy import Proxy, proxy_to, through
from tests.support.settings import make_settings
from tests.support.waiting import until

from telemed.kernel.http.straight import StraightLook
from telemed.kernel.ids import uuid7
from telemed.kernel.resources import Resources
from telemed.kernel.settings import Settings

RECORDED = ("appointment", "appointments", "consultation", "consultations", "prescription", "me")


@pytest.fixture
async def proxy(database: TestDatabase) -> AsyncIterator[Proxy]:
    """What stands between the application and its database."""
    async with proxy_to(database.servers.port) as made:
        yield made


@pytest.fixture
def settings(database: TestDatabase, redis_url: str, proxy: Proxy) -> Settings:
    """Settings with the proxy in the way, and one connection, whose statements are known after the first look."""
    return make_settings(database, redis_url, database_url=through(proxy, database.services), database_pool_size=2)


async def refuse_records(owner: asyncpg.Connection, how: str) -> None:
    """Have the database do this with each record before it is there."""
    await owner.execute(
        f"""
        CREATE OR REPLACE FUNCTION audit.refuse_record() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN {how}; RETURN NEW; END $$
        """
    )
    await owner.execute(
        "CREATE TRIGGER refused BEFORE INSERT ON audit.records FOR EACH ROW EXECUTE FUNCTION audit.refuse_record()"
    )


@pytest.mark.parametrize("state", ["53100", "25006", "57P01", "XX000"])
async def test_nothing_is_shown_whose_record_was_refused(
    state: str, scene: Scene, resources: Resources, events: LoggedEvents, owner: asyncpg.Connection
) -> None:
    """A full disk, a demoted server, one that ends, a bug of its own: 5xx, and not a word of the data."""
    events.expect("request.failed")
    await refuse_records(owner, f"RAISE EXCEPTION USING ERRCODE = '{state}'")
    for name in RECORDED:
        resources.db.availability.answered()  # an outage would be known after three of them
        request_id = str(uuid7())
        reply = await scene.callers["patient"].get(scene.paths[name], headers={"X-Request-ID": request_id})
        assert reply.status_code >= 500, name
        assert not any(secret in reply.text for secret in SECRETS), name
        assert scene.visit_id not in reply.text.replace(scene.paths[name], ""), name
        assert await scene.records(request_id) == []
    await owner.execute("DROP TRIGGER refused ON audit.records")
    resources.db.availability.answered()
    assert (await scene.callers["patient"].get(scene.paths["appointment"])).status_code == 200


async def test_nothing_is_shown_whose_commit_was_not_confirmed(
    scene: Scene, resources: Resources, owner: asyncpg.Connection
) -> None:
    """Under synchronous replication, a cancelled wait ends with a warning; then a failover could lose the record."""
    await refuse_records(owner, "RAISE WARNING 'canceling wait for synchronous replication due to user request'")
    for name in RECORDED:
        resources.db.availability.answered()
        reply = await scene.callers["patient"].get(scene.paths[name])
        assert (reply.status_code, reply.json()["type"]) == (503, "unavailable"), name
        assert not any(secret in reply.text for secret in SECRETS), name


async def test_nothing_is_shown_whose_connection_broke(scene: Scene, resources: Resources, proxy: Proxy) -> None:
    """While the record was written: it may be there, which says too much at worst, and never too little."""
    for name in RECORDED:
        resources.db.availability.answered()
        assert (await scene.callers["patient"].get(scene.paths[name])).status_code == 200
        proxy.cut_after = b"write_ending"
        reply = await scene.callers["patient"].get(scene.paths[name])
        proxy.cut_after = None
        assert reply.status_code == 503, name
        assert not any(secret in reply.text for secret in SECRETS), name


async def test_nothing_is_shown_before_its_record_is_committed(scene: Scene, owner: asyncpg.Connection) -> None:
    """However long that takes."""
    await scene.callers["patient"].get(scene.paths["appointment"])
    async with owner.transaction():
        await owner.execute("LOCK TABLE audit.unchained IN ACCESS EXCLUSIVE MODE")
        looks = [asyncio.create_task(scene.callers["patient"].get(scene.paths[name])) for name in RECORDED]
        done, _ = await asyncio.wait(looks, timeout=0.5)
        assert not done
    assert {reply.status_code for reply in await asyncio.gather(*looks)} == {200}


async def test_a_look_that_is_left_may_have_its_record_and_keeps_nothing_busy(
    scene: Scene, proxy: Proxy, resources: Resources, owner: asyncpg.Connection
) -> None:
    """Its client goes while the record is written; others look on."""
    patient = scene.callers["patient"]
    await patient.get(scene.paths["me"])
    proxy.freeze_after = b"write_ending"
    request_id = str(uuid7())
    left = asyncio.create_task(patient.get(scene.paths["me"], headers={"X-Request-ID": request_id}))
    await until(lambda: proxy.is_frozen)
    left.cancel()
    await asyncio.wait({left})
    proxy.freeze_after = None
    proxy.thaw()
    assert (await patient.get(scene.paths["me"])).status_code == 200

    async def is_recorded() -> bool:
        return len(await scene.records(request_id)) == 1

    await until(is_recorded)
    assert resources.db._engine.sync_engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # a QueuePool


async def test_looks_take_the_straight_way(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them, by whom it is for; without it they would be as right, and several times as dear."""
    served = []
    serve = StraightLook.serve

    async def noted(*arguments: object) -> bool:
        served.append(await serve(*arguments))  # type: ignore[arg-type]  # what it is called with
        return served[-1]

    monkeypatch.setattr(StraightLook, "serve", noted)
    public = {name: scene.paths[name] for name in ("doctor", "doctors")}
    for who, paths in (("patient", scene.paths), ("nobody", public)):
        for path in paths.values():
            assert (await scene.callers[who].get(path)).status_code == 200
    assert served == [True] * (len(scene.paths) + len(public))
