"""Idempotency keys: one effect and one reply, however often a request arrives."""

import asyncio
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from tests.support.counters import value_of
from tests.support.events import LoggedEvents
from tests.support.people import People


def same(first: httpx.Response, second: httpx.Response) -> bool:
    """Tell whether two replies are the same byte for byte, but for the mark of the replay and the request's id."""
    ignored = {"idempotency-replayed", "x-request-id"}

    def headers(reply: httpx.Response) -> dict[str, str]:
        return {name: value for name, value in reply.headers.items() if name not in ignored}

    return (first.status_code, first.content, headers(first)) == (second.status_code, second.content, headers(second))


async def test_a_repeated_request_is_done_once(people: People, counters: str, owner: asyncpg.Connection) -> None:
    """The second reply is the first one, marked as replayed."""
    patient = await people.patient()
    first = await patient.post("/tiny/one", {"by": 5}, key="k")
    second = await patient.post("/tiny/one", {"by": 5}, key="k")
    assert first.status_code == 201
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert same(first, second)
    assert await value_of(owner, counters, 1) == 5


async def test_without_a_key_every_request_counts(people: People, counters: str, owner: asyncpg.Connection) -> None:
    """Two requests without a key are two wishes."""
    patient = await people.patient()
    for _ in range(2):
        await patient.post("/tiny/one", {"by": 5})
    assert await value_of(owner, counters, 1) == 10


async def test_the_same_json_in_another_spelling_is_the_same_request(people: People) -> None:
    """Order of names and white space are the client library's business."""
    patient = await people.patient()
    first = await patient.request("POST", "/tiny/one", content=b'{"by":1,"note":"caf\\u00e9"}', key="k")
    second = await patient.request("POST", "/tiny/one", content='{ "note": "café",\n "by": 1 }'.encode(), key="k")
    assert same(first, second)
    assert "Idempotency-Replayed" in second.headers


@pytest.mark.parametrize("other", [{"by": 2}, {"by": 1, "note": "x"}], ids=str)
async def test_another_body_under_the_key_is_refused(people: People, other: object) -> None:
    """A key stands for one request; the client has made a mistake that must not go unnoticed."""
    patient = await people.patient()
    await patient.post("/tiny/one", {"by": 1}, key="k")
    reply = await patient.post("/tiny/one", other, key="k")
    assert (reply.status_code, reply.json()["type"]) == (422, "key-reused")


async def test_another_query_under_the_key_is_refused(people: People) -> None:
    """What stands in the address is part of the request."""
    patient = await people.patient()
    await patient.post("/tiny/one", {"by": 1}, key="k")
    assert (await patient.post("/tiny/one?dry=1", {"by": 1}, key="k")).json()["type"] == "key-reused"


async def test_two_users_may_choose_the_same_key(people: People, counters: str, owner: asyncpg.Connection) -> None:
    """Nobody is ever given somebody else's reply."""
    one, two = await people.patients(2)
    replies = [await user.post("/tiny/one", {"by": 1}, key="k") for user in (one, two)]
    assert [reply.json()["value"] for reply in replies] == [1, 2]
    assert all("Idempotency-Replayed" not in reply.headers for reply in replies)
    assert await value_of(owner, counters, 1) == 2


async def test_one_key_on_two_routes_is_two_keys(people: People, counters: str, owner: asyncpg.Connection) -> None:
    """A client that numbers its requests per route is served right."""
    patient = await people.patient()
    for path in ("/tiny/one", "/tiny/two"):
        assert (await patient.post(path, {"by": 1}, key="k")).json()["value"] == 1
    assert [await value_of(owner, counters, number) for number in (1, 2)] == [1, 1]


async def test_concurrent_requests_under_one_key_take_effect_once(
    people: People, counters: str, owner: asyncpg.Connection
) -> None:
    """Forty at once: one is done; the others are told to wait, or get its reply."""
    patient = await people.patient()
    replies = await asyncio.gather(*(patient.post("/tiny/one", {"by": 1, "end": "slow"}, key="k") for _ in range(40)))
    assert await value_of(owner, counters, 1) == 1
    done = [reply for reply in replies if reply.status_code == 201]
    waiting = [reply for reply in replies if reply.status_code != 201]
    assert len({reply.content for reply in done}) == 1
    assert sum("Idempotency-Replayed" not in reply.headers for reply in done) == 1
    assert all((reply.status_code, reply.json()["type"]) == (409, "key-in-progress") for reply in waiting)
    assert all("Retry-After" in reply.headers for reply in waiting)
    assert waiting, "they were to overlap"
    assert same(done[0], await patient.post("/tiny/one", {"by": 1, "end": "slow"}, key="k"))


async def test_a_final_refusal_is_stored_and_replayed(people: People) -> None:
    """The same problem, with the trace id of the request that met it."""
    patient = await people.patient()
    first = await patient.post("/tiny/one", {"by": 1, "end": "closed"}, key="k")
    second = await patient.post("/tiny/one", {"by": 1, "end": "closed"}, key="k")
    assert (first.status_code, first.json()["type"], first.json()["state"]) == (409, "counter-closed", "closed")
    assert same(first, second)
    assert "Idempotency-Replayed" in second.headers


async def test_a_violated_constraint_is_stored_and_replayed(people: People) -> None:
    """What the database refuses is as final as what the code refuses."""
    patient = await people.patient()
    first = await patient.post("/tiny/one", {"by": 5000}, key="k")
    assert first.json()["type"] == "counter-full"
    assert same(first, await patient.post("/tiny/one", {"by": 5000}, key="k"))


@pytest.mark.parametrize(("end", "status"), [("busy", 503), ("broken", 500), ("bug", 500)])
async def test_a_failure_of_ours_is_not_stored(
    people: People, counters: str, owner: asyncpg.Connection, end: str, status: int, events: LoggedEvents
) -> None:
    """The client may try again under the same key, even with another wish: nothing was done."""
    events.expect("request.failed")
    patient = await people.patient()
    assert (await patient.post("/tiny/one", {"by": 1, "end": end}, key="k")).status_code == status
    again = await patient.post("/tiny/one", {"by": 1}, key="k")
    assert again.status_code == 201
    assert await value_of(owner, counters, 1) == 1


async def test_a_malformed_request_leaves_the_key_free(people: People) -> None:
    """A corrected request may go under the same key."""
    patient = await people.patient()
    assert (await patient.post("/tiny/one", {"by": "1"}, key="k")).status_code == 422
    assert (await patient.post("/tiny/one", {"by": 1}, key="k")).status_code == 201


async def test_a_denial_is_written_down_once_with_its_reply(people: People, owner: asyncpg.Connection) -> None:
    """The trail has a record of each attempt that reached the decision, though the attempt was rolled back."""
    patient = await people.patient()
    for _ in range(2):
        assert (await patient.post("/tiny/one", {"by": 1, "end": "not-yours"}, key="k")).status_code == 404
    assert await owner.fetchval("SELECT count(*) FROM audit.records WHERE actor_id = $1", UUID(patient.id)) == 1


async def test_a_session_that_has_ended_gets_no_replay(people: People, owner: asyncpg.Connection) -> None:
    """A stored reply is for its caller as long as they may come in."""
    patient = await people.patient()
    await patient.post("/tiny/one", {"by": 1}, key="k")
    await owner.execute(
        "UPDATE auth.sessions SET revoked_at = now(), revoked_because = 'test' WHERE id = $1", UUID(patient.session_id)
    )
    assert (await patient.post("/tiny/one", {"by": 1}, key="k")).status_code == 401


@pytest.mark.parametrize("key", ["", "k" * 256, "two words", "tab\tkey", "ключ".encode()], ids=repr)
async def test_a_key_of_a_wrong_form_is_refused(people: People, key: str | bytes) -> None:
    """A key that a log or a database could mangle is no key."""
    patient = await people.patient()
    reply = await patient.client.post(
        "/tiny/one",
        json={"by": 1},
        headers={
            b"Authorization": f"Bearer {patient.token}".encode(),
            b"Idempotency-Key": key if isinstance(key, bytes) else key.encode(),
        },
    )
    assert reply.status_code == 422
    assert reply.json()["errors"][0]["loc"] == ["header", "Idempotency-Key"]


async def test_random_keys_never_collide(people: People, counters: str, owner: asyncpg.Connection) -> None:
    """Fresh keys are fresh requests, also when they come at once."""
    patient = await people.patient()
    replies = await asyncio.gather(*(patient.post("/tiny/one", {"by": 1}, key=str(uuid4())) for _ in range(30)))
    assert {reply.status_code for reply in replies} == {201}
    assert await value_of(owner, counters, 1) == 30
