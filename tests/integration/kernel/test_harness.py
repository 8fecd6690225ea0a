"""The harness itself: what every other test relies on."""

from uuid import UUID

import httpx
from tests.support.people import People
from tests.support.platform import Platform
from tests.support.settings import NOW

from telemed.contracts.entrance import enter
from telemed.kernel.resources import Resources


async def test_a_made_user_stands(people: People, resources: Resources) -> None:
    """A user of the harness has a session that the platform accepts."""
    doctor = await people.doctor()
    claims = resources.verifier.verify(str(doctor.token), now=NOW)
    assert claims.user_id == UUID(doctor.id)
    assert (await resources.db.transact(enter, claims, None)).role == "doctor"


async def test_the_application_answers(api: httpx.AsyncClient) -> None:
    assert (await api.get("/readyz")).json() == {"status": "ready"}


async def test_three_processes_answer_behind_one_client(platform_processes: Platform) -> None:
    """Every service of the cluster's shape starts on the test's servers."""
    await platform_processes.serve("auth", "booking", "consultation")
    for path in ("/auth", "/booking", "/consultation", "/audit"):
        assert (await platform_processes.client.get(f"{path}/there/is/nothing/here")).json()["type"] == "not-found"
