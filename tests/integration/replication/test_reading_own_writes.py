"""Reads from replicas: a client sees what it has written, whatever the replicas have."""

from uuid import UUID

import pytest
from tests.integration.replication.conftest import Replication, Served
from tests.support.clinic import Clinic, doctor_card
from tests.support.people import People
from tests.support.waiting import until

from telemed.booking.slots.keys import page_key
from telemed.booking.slots.schemas import SearchSlots
from telemed.kernel.replication.tokens import COOKIE, HEADER
from telemed.kernel.resources import Resources


async def test_a_write_gives_a_token_as_header_and_as_cookie(served: Served, clinic: Clinic, people: People) -> None:
    """Programs send the header back, browsers the cookie, which no script and no other site can use."""
    doctor = await people.doctor()
    reply = await doctor.put("/booking/doctors/me", doctor_card())
    cookie = reply.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}={reply.headers[HEADER]};")
    for attribute in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/"):
        assert attribute in cookie
    assert HEADER not in (await doctor.get("/auth/me")).headers


async def test_reads_go_to_a_replica_that_is_near(
    served: Served, clinic: Clinic, people: People, replication: Replication
) -> None:
    """With the token of the last write, which the replica has by then or within a moment."""
    doctor = await clinic.doctor()
    token = (await doctor.put("/booking/doctors/me", doctor_card(bio="New."))).headers[HEADER]
    await replication.caught_up()
    for _ in range(20):
        reply = await people.nobody.get(f"/booking/doctors/{doctor.id}", headers={HEADER: token})
        assert reply.json()["bio"] == "New."
    assert (served.by("replica"), served.by("primary")) == ({"near": 20}, {})


@pytest.mark.parametrize("carrier", ["header", "cookie"])
async def test_a_replica_that_is_behind_is_skipped(
    served: Served, clinic: Clinic, people: People, replication: Replication, carrier: str
) -> None:
    """The primary answers instead, with the client's own write."""
    doctor = await clinic.doctor()
    await replication.caught_up()
    await replication.hold_back()
    token = (await doctor.put("/booking/doctors/me", doctor_card(bio="Newer."))).headers[HEADER]
    headers = {HEADER: token} if carrier == "header" else {"Cookie": f"theme=dark; {COOKIE}={token}"}

    own = await people.nobody.get(f"/booking/doctors/{doctor.id}", headers=headers)
    others = await people.nobody.get(f"/booking/doctors/{doctor.id}")

    assert own.json()["bio"] == "Newer."
    assert others.json()["bio"] != "Newer.", "nobody is behind, so this test shows nothing"
    assert served.by("primary") == {"behind": 1}


async def test_a_replayed_write_gives_a_token_too(
    served: Served, clinic: Clinic, people: People, replication: Replication
) -> None:
    """The first reply may be lost on its way with the token in it."""
    doctor = await clinic.doctor()
    await replication.caught_up()
    await replication.hold_back()
    await doctor.put("/booking/doctors/me", doctor_card(bio="Twice."), key="one-key")
    replay = await doctor.put("/booking/doctors/me", doctor_card(bio="Twice."), key="one-key")
    assert replay.headers["Idempotency-Replayed"] == "true"
    shown = await people.nobody.get(f"/booking/doctors/{doctor.id}", headers={HEADER: replay.headers[HEADER]})
    assert shown.json()["bio"] == "Twice."


@pytest.mark.parametrize("token", ["", "0-0-0-AAAAAAAAAAAAAAAAAAAAAA", "x" * 3000, "7fffffff-1-1-é", "\x00"])
async def test_what_is_no_token_of_ours_asks_the_primary(
    served: Served, clinic: Clinic, people: People, replication: Replication, token: str
) -> None:
    """A client that believes to have written must not be shown less than the primary has."""
    doctor = await clinic.doctor()
    await replication.caught_up()
    headers = {HEADER: token.encode("utf-8")}
    reply = await people.nobody.client.get(f"/booking/doctors/{doctor.id}", headers=headers)  # type: ignore[arg-type]  # httpx takes bytes
    assert reply.status_code == 200
    assert served.by("primary") == {"primary_wanted": 1}


async def test_a_no_of_a_replica_is_asked_again(
    served: Served, clinic: Clinic, people: People, replication: Replication
) -> None:
    """The doctor, who carries no token of the patient's, opens an appointment that no replica has yet."""
    doctor, patient = await clinic.doctor(), await people.patient()
    await replication.caught_up()
    await replication.hold_back()
    appointment = await clinic.appointment(patient, doctor)
    reply = await doctor.get(f"/booking/appointments/{appointment['id']}")
    assert reply.status_code == 200
    assert served.by("primary") == {"refused": 1}


async def test_search_finds_what_was_published_while_the_replicas_were_behind(
    served: Served, clinic: Clinic, people: People, replication: Replication
) -> None:
    """For everybody and without a token: a page is never made from a state before its generation."""
    doctor = await clinic.doctor()
    await replication.caught_up()
    await replication.hold_back()
    slots = await clinic.slots(doctor, 2)
    found = await people.nobody.get("/booking/slots/search", doctor_id=doctor.id)
    assert [item["id"] for item in found.json()["items"]] == [slot["id"] for slot in slots]
    patient = await people.patient()
    await patient.post("/booking/slots/book", {"slot_id": slots[0]["id"]})
    found = await people.nobody.get("/booking/slots/search", doctor_id=doctor.id)
    assert [item["id"] for item in found.json()["items"]] == [slots[1]["id"]]


async def test_search_loads_its_pages_from_a_replica(
    served: Served, clinic: Clinic, people: People, replication: Replication
) -> None:
    """The heaviest reads are what replicas are for."""
    doctor = await clinic.doctor()
    await clinic.slots(doctor, 2)
    await replication.caught_up()
    await people.nobody.get("/booking/slots/search", doctor_id=doctor.id)
    assert (served.by("replica"), served.by("primary")) == ({"near": 1}, {})


async def test_after_a_failure_of_redis_search_wants_everything(
    served: Served, clinic: Clinic, people: People, replication: Replication, resources: Resources
) -> None:
    """What could not be noted may be missing on a replica as well."""
    doctor = await clinic.doctor()
    (slot,) = await clinic.slots(doctor)
    await replication.caught_up()
    await replication.hold_back()
    patient = await people.patient()
    resources.cache.distrust(page_key(SearchSlots(doctor_id=UUID(doctor.id))), "a test says so")
    await patient.post("/booking/slots/book", {"slot_id": slot["id"]})
    found = await people.nobody.get("/booking/slots/search", doctor_id=doctor.id)
    assert found.json()["items"] == []
    assert served.by("primary") == {"behind": 1}


@pytest.mark.parametrize("more_settings", [{"replica_max_lag_seconds": 0.2}])
async def test_a_replica_far_behind_is_asked_by_nobody(
    served: Served, clinic: Clinic, people: People, replication: Replication, resources: Resources
) -> None:
    """Also those who have written nothing are spared a state of long ago."""
    doctor = await clinic.doctor()
    await replication.caught_up()
    await replication.hold_back()
    await doctor.put("/booking/doctors/me", doctor_card(bio="Fresh."))

    async def is_fresh() -> bool:
        reply = await people.nobody.get(f"/booking/doctors/{doctor.id}")
        return bool(reply.json()["bio"] == "Fresh.")

    await until(is_fresh, within_seconds=10)
    assert served.by("primary")["behind"] >= 1
