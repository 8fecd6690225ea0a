"""GET /audit/events with queries that mean nothing."""

from typing import Any

import pytest
from tests.support.databases import TestDatabase
from tests.support.people import People


@pytest.fixture
def database(worker_database: TestDatabase) -> TestDatabase:
    """The shared database: what is in the trail does not matter."""
    return worker_database


@pytest.mark.parametrize(
    "query",
    [
        {"actor_id": "x"},
        {"action": "no verb"},
        {"action": "\x00"},
        {"entity_type": "a" * 81},
        {"outcome": "maybe"},
        {"from_": "9999-12-31T23:59:59Z"},
        {"from_": "yesterday"},
        {"from_": "2026-11-23T08:00:00Z", "to": "2026-11-23T08:00:00Z"},
        {"limit": 0},
        {"limit": 10**30},
        {"cursor": "e30"},
        {"cursor": "\ud800".encode("utf-8", "surrogatepass")},
    ],
)
async def test_a_query_that_means_nothing_is_refused(people: People, query: dict[str, Any]) -> None:
    """422 with the parameter named, never 500."""
    reply = await (await people.admin()).get("/audit/events", **query)
    assert (reply.status_code, reply.json()["type"]) == (422, "invalid-request")
    assert reply.json()["errors"][0]["loc"][0] == "query"
