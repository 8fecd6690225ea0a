"""Between a booking's look and its call anything may happen; the call notices under its locks, or writes nothing."""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import asyncpg
import httpx
import pytest
from tests.support.clinic import Clinic, doctor_card
from tests.support.databases import TestDatabase
from tests.support.events import LoggedEvents
from tests.support.people import People, User
from tests.support.stalls import BOOK, bookings_of, slot_locked, waiting_for_locks
from tests.support.waiting import until

from telemed.booking.appointments import queries
from telemed.booking.appointments.queries import Booking, Sight
from telemed.booking.slots.keys import page_key
from telemed.booking.slots.queries import SlotNow
from telemed.booking.slots.schemas import SearchSlots
from telemed.booking.slots.shelf import SlotShelf
from telemed.contracts.work import Entry
from telemed.kernel.acts import Act
from telemed.kernel.direct import Direct
from telemed.kernel.resources import Resources

Happening = Callable[[], Awaitable[object]]
_FUNCTIONS = (
    "booking.look_at_slot",
    "booking.look_at_slots",
    "booking.book_slot",
    "platform.keep_replies",
)


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """A database whose functions may be changed."""
    return fresh_database


@dataclass
class Meanwhile:
    """What happens, once, after the next booking has looked and before it calls."""

    happenings: list[Happening] = field(default_factory=list)

    def let(self, happening: Happening) -> None:
        self.happenings.append(happening)


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Lets something happen between look and call."""
    arranged = Meanwhile()
    call = queries.book_slot

    async def after_it(direct: Direct, entry: Entry, act: Act, slot: SlotNow, booking: Booking) -> Sight:
        if arranged.happenings:
            await arranged.happenings.pop()()
        return await call(direct, entry, act, slot, booking)

    monkeypatch.setattr(queries, "book_slot", after_it)
    return arranged


@dataclass
class Scene:
    """A patient who wants a slot, and what others can do to them meanwhile."""

    people: People
    clinic: Clinic
    owner: asyncpg.Connection
    patient: User
    doctor: User
    slot_id: str

    async def book(self, key: str | None = None, **more: object) -> httpx.Response:
        return await self.patient.post(BOOK, {"slot_id": self.slot_id, **more}, key=key)

    async def end_session(self) -> None:
        await self.owner.execute(
            "UPDATE auth.sessions SET revoked_at = now() WHERE id = $1", UUID(self.patient.session_id)
        )

    async def change_role(self, user: User, role: str) -> None:
        await self.owner.execute("UPDATE auth.users SET role = $1 WHERE id = $2", role, UUID(user.id))

    async def appoint_patient(self) -> None:
        await self.change_role(self.patient, "doctor")

    async def demote_doctor(self) -> None:
        await self.change_role(self.doctor, "patient")

    async def withdraw(self) -> None:
        assert (await self.doctor.delete(f"/booking/slots/{self.slot_id}")).status_code == 204

    async def be_taken(self) -> None:
        rival = await self.people.patient()
        assert (await rival.post(BOOK, {"slot_id": self.slot_id})).status_code == 201

    async def reopen(self) -> None:
        """Let somebody book and cancel: open as before, in another version."""
        rival = await self.people.patient()
        appointment = (await rival.post(BOOK, {"slot_id": self.slot_id})).json()
        assert (await rival.post(f"/booking/appointments/{appointment['id']}/cancel")).status_code == 200


@pytest.fixture
async def scene(people: People, clinic: Clinic, owner: asyncpg.Connection) -> Scene:
    """A patient, a doctor and an open slot."""
    doctor = await clinic.doctor()
    (slot,) = await clinic.slots(doctor)
    return Scene(people, clinic, owner, await people.patient(), doctor, slot["id"])


async def test_search_is_told_of_the_specialization_that_the_slot_has_now(
    scene: Scene, meanwhile: Meanwhile, resources: Resources
) -> None:
    """Under which another process may have kept it on a page since the look."""
    query = SearchSlots(specialization="neurology")
    elsewhere = SlotShelf(resources.cache, resources.clock, resources.reads)

    async def change_and_be_found() -> None:
        assert (await scene.doctor.put("/booking/doctors/me", doctor_card(specialization="Neurology"))).is_success
        found = (await scene.people.nobody.get("/booking/slots/search", specialization="neurology")).json()
        assert [one["id"] for one in found["items"]] == [scene.slot_id]

    meanwhile.let(change_and_be_found)
    assert (await scene.book()).status_code == 201

    entry = (await elsewhere.fetch(page_key(query))).entry
    assert entry is None or not entry.is_valid or entry.value.openings == ()


@pytest.mark.parametrize(
    ("happens", "status", "kind"),
    [
        (Scene.appoint_patient, 403, "forbidden"),
        (Scene.end_session, 401, "not-authenticated"),
        (Scene.demote_doctor, 404, "not-found"),
        (Scene.withdraw, 404, "not-found"),
    ],
)
async def test_what_has_changed_since_the_look_is_noticed(
    scene: Scene, meanwhile: Meanwhile, happens: Callable[[Scene], Awaitable[None]], status: int, kind: str
) -> None:
    """The same answer as if it had been so from the beginning, and nothing is written."""
    meanwhile.let(lambda: happens(scene))

    reply = await scene.book()

    assert (reply.status_code, reply.json()["type"]) == (status, kind)
    assert await bookings_of(scene.owner, scene.patient) == 0
    assert not meanwhile.happenings, "it was to happen"


async def weaken(owner: asyncpg.Connection, clause: str) -> None:
    """Take one comparison out of the function."""
    function = await owner.fetchval("SELECT pg_get_functiondef('booking.book_slot'::regproc)")
    without = function.replace(clause, "false")
    assert without != function, clause
    await owner.execute(without)


@pytest.mark.parametrize(
    ("clauses", "happens"),
    [
        (["seen.caller_role IS DISTINCT FROM seen_role"], Scene.appoint_patient),
        (["seen.caller_role IS DISTINCT FROM seen_role"], Scene.end_session),
        (["seen.doctor_role IS DISTINCT FROM seen_doctor_role"], Scene.demote_doctor),
        (
            ["seen.status IS DISTINCT FROM seen_status", "seen.version IS DISTINCT FROM seen_version"],
            Scene.withdraw,
        ),
    ],
)
async def test_each_comparison_is_needed(
    scene: Scene, meanwhile: Meanwhile, clauses: list[str], happens: Callable[[Scene], Awaitable[None]]
) -> None:
    """Without it the booking goes through: the test above sees what it is there for."""
    for clause in clauses:
        await weaken(scene.owner, clause)
    meanwhile.let(lambda: happens(scene))

    assert (await scene.book()).status_code == 201


async def test_a_denial_that_is_noticed_late_is_in_the_trail(scene: Scene, meanwhile: Meanwhile) -> None:
    """Whoever lost their role a moment ago is recorded like everybody else."""
    meanwhile.let(scene.appoint_patient)

    reply = await scene.book()

    recorded = await scene.owner.fetch(
        "SELECT action, outcome FROM audit.records WHERE request_id = $1", reply.headers["X-Request-ID"]
    )
    assert [tuple(record) for record in recorded] == [("access.role", "denied")]


async def test_a_slot_that_was_taken_since_the_look_is_taken(scene: Scene, meanwhile: Meanwhile) -> None:
    """409, stored under the key: the same answer for ever."""
    meanwhile.let(scene.be_taken)

    replies = [await scene.book(key="k") for _ in range(2)]

    assert [(reply.status_code, reply.json()["type"]) for reply in replies] == [(409, "slot-taken")] * 2
    assert replies[1].headers["Idempotency-Replayed"] == "true"


async def test_another_opening_is_booked_as_what_it_is(scene: Scene, meanwhile: Meanwhile) -> None:
    """The slot is free again, in another version: the event names that one, so that search forgets the right one."""
    meanwhile.let(scene.reopen)

    reply = await scene.book()

    assert reply.status_code == 201
    payload = await scene.owner.fetchval(
        """
        SELECT payload->>'slot_version' FROM platform.outbox
        WHERE type = 'appointment.booked' AND payload->>'appointment_id' = $1
        """,
        reply.json()["id"],
    )
    assert payload == "3", "published, booked, cancelled"
    found = await scene.people.nobody.get("/booking/slots/search", doctor_id=scene.doctor.id)
    assert found.json()["items"] == []


async def test_without_the_version_the_wrong_opening_is_named(scene: Scene, meanwhile: Meanwhile) -> None:
    """What the comparison of versions is for."""
    await weaken(scene.owner, "seen.version IS DISTINCT FROM seen_version")
    meanwhile.let(scene.reopen)

    reply = await scene.book()

    payload = await scene.owner.fetchval(
        """
        SELECT payload->>'slot_version' FROM platform.outbox
        WHERE type = 'appointment.booked' AND payload->>'appointment_id' = $1
        """,
        reply.json()["id"],
    )
    assert payload == "1"


async def test_a_reply_that_was_stored_since_the_look_is_given(scene: Scene, meanwhile: Meanwhile) -> None:
    """The same request came twice, and the other one was quicker."""
    first: list[httpx.Response] = []

    async def be_quicker() -> None:
        first.append(await scene.book(key="k"))

    meanwhile.let(be_quicker)

    reply = await scene.book(key="k")

    assert (reply.status_code, reply.headers["Idempotency-Replayed"]) == (201, "true")
    assert reply.content == first[0].content
    assert await bookings_of(scene.owner, scene.patient) == 1


async def test_a_key_that_was_used_for_another_request_since_the_look_is_refused(
    scene: Scene, meanwhile: Meanwhile
) -> None:
    """422; the other request's reply is nobody else's."""
    meanwhile.let(lambda: scene.book(key="k", reason="Another one"))

    reply = await scene.book(key="k")

    assert (reply.status_code, reply.json()["type"]) == (422, "key-reused")


async def test_without_the_look_at_the_key_that_is_a_failure(
    scene: Scene, meanwhile: Meanwhile, events: LoggedEvents
) -> None:
    """What it is for: the key's row stands in the way of another one, which is nobody's word for anything."""
    events.expect("request.failed")
    await weaken(scene.owner, "seen.reply_status IS NOT NULL")
    (other,) = await scene.clinic.slots(
        await scene.clinic.doctor(), starts_at=scene.clinic.opens_at + timedelta(days=1)
    )
    meanwhile.let(lambda: scene.patient.post(BOOK, {"slot_id": other["id"]}, key="k"))

    assert (await scene.book(key="k")).status_code == 500
    assert await bookings_of(scene.owner, scene.patient) == 1


async def test_the_same_key_at_once_is_told_to_wait(scene: Scene, database: TestDatabase) -> None:
    """While the first one waits for the row; and the key's claim ends with it."""
    async with slot_locked(database.owner, scene.slot_id):
        first = asyncio.create_task(scene.book(key="k"))

        async def waits() -> bool:
            return await waiting_for_locks(scene.owner) == 1

        await until(waits)
        second = await scene.book(key="k")
    assert (second.status_code, second.json()["type"]) == (409, "key-in-progress")
    assert (await first).status_code == 201
    assert (await scene.book(key="k")).content == (await first).content


async def test_without_the_claim_the_same_key_waits_at_the_row(scene: Scene, database: TestDatabase) -> None:
    """What the claim is for: a client that repeats itself must not hold a second connection."""
    await weaken(scene.owner, "key_lock IS NOT NULL AND NOT pg_try_advisory_xact_lock(key_lock)")
    async with slot_locked(database.owner, scene.slot_id):
        both = [asyncio.create_task(scene.book(key="k")) for _ in range(2)]

        async def both_wait() -> bool:
            return await waiting_for_locks(scene.owner) == 2

        await until(both_wait)
    assert [(await one).status_code for one in both] == [201, 201]
    assert await bookings_of(scene.owner, scene.patient) == 1


async def test_fifty_patients_with_keys_of_their_own(scene: Scene, database: TestDatabase) -> None:
    """One wins; the others hear so, now and whenever they ask again."""
    rivals = await scene.people.patients(50)
    async with slot_locked(database.owner, scene.slot_id):
        racing = [
            asyncio.create_task(rival.post(BOOK, {"slot_id": scene.slot_id}, key=f"key-{number}"))
            for number, rival in enumerate(rivals)
        ]

        async def several_wait() -> bool:
            return await waiting_for_locks(scene.owner) >= 6

        await until(several_wait)
    replies = [await one for one in racing]
    again = [
        await rival.post(BOOK, {"slot_id": scene.slot_id}, key=f"key-{number}") for number, rival in enumerate(rivals)
    ]

    assert Counter(reply.status_code for reply in replies) == {201: 1, 409: 49}
    assert [reply.content for reply in again] == [reply.content for reply in replies]
    booked = await scene.owner.fetchval(
        "SELECT count(*) FROM booking.appointments WHERE slot_id = $1", UUID(scene.slot_id)
    )
    assert booked == 1


async def test_a_row_that_cannot_be_had_is_contended(
    scene: Scene, database: TestDatabase, resources: Resources
) -> None:
    """409 after the bound, and the wait is in the histogram, though in vain."""
    async with slot_locked(database.owner, scene.slot_id):
        reply = await scene.book(key="k")
    assert (reply.status_code, reply.json()["type"]) == (409, "slot-contended")
    assert resources.metrics.booking_lock_wait._sum.get() >= 2.0
    assert (await scene.book(key="k")).status_code == 201, "it is no answer for good"


async def test_a_wait_for_the_row_is_measured(scene: Scene, database: TestDatabase, resources: Resources) -> None:
    """By the server, which knows where it waited."""
    async with slot_locked(database.owner, scene.slot_id):
        booking = asyncio.create_task(scene.book())

        async def waits() -> bool:
            return await waiting_for_locks(scene.owner) == 1

        await until(waits)
        await asyncio.sleep(0.1)  # what is measured
    assert (await booking).status_code == 201
    assert 0.1 <= resources.metrics.booking_lock_wait._sum.get() < 2.0


async def test_a_backend_that_dies_inside_the_call_has_booked_nothing(scene: Scene, database: TestDatabase) -> None:
    """503, a definite no; the key is free, and the pool has healed."""
    superuser = await asyncpg.connect(database.superuser)
    async with slot_locked(database.owner, scene.slot_id):
        booking = asyncio.create_task(scene.book(key="k"))

        async def waits() -> bool:
            return await waiting_for_locks(scene.owner) == 1

        await until(waits)
        await superuser.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE NOT granted AND datname = $1",
            database.name,
        )
        reply = await booking
    await superuser.close()
    assert (reply.status_code, reply.json()["type"]) == (503, "unavailable")
    assert await bookings_of(scene.owner, scene.patient) == 0
    assert (await scene.book(key="k")).status_code == 201


async def test_a_failure_inside_the_call_leaves_nothing_of_it(scene: Scene, events: LoggedEvents) -> None:
    """Slot, appointment, record, event and reply: all or nothing. Here the last of them cannot be written."""
    events.expect("request.failed")
    counts = """
        SELECT (SELECT count(*) FROM booking.appointments), (SELECT count(*) FROM audit.records),
               (SELECT count(*) FROM platform.outbox), (SELECT sum(version) FROM booking.slots)
    """
    await scene.owner.execute(
        "ALTER TABLE platform.idempotency_keys ADD CONSTRAINT full_up CHECK (status < 0) NOT VALID"
    )
    before = await scene.owner.fetchrow(counts)

    reply = await scene.book(key="k")

    assert reply.status_code == 500
    assert await scene.owner.fetchrow(counts) == before


async def test_the_functions_make_no_sql_of_what_they_are_given(owner: asyncpg.Connection) -> None:
    """Every value is a parameter to the last; and they act with the caller's rights, on names that nobody shadows."""
    for name in _FUNCTIONS:
        row = await owner.fetchrow("SELECT * FROM pg_proc WHERE oid = $1::text::regproc", name)
        assert row is not None
        assert not re.search(r"\bEXECUTE\b|\bformat\s*\(|quote_", row["prosrc"], re.IGNORECASE), name
        assert not row["prosecdef"], name
        assert row["proconfig"] == ['search_path=""'], name
        assert not re.search(
            r"\b(FROM|JOIN|INTO|UPDATE)\s+(appointments|slots|doctors|people|records|outbox)\b", row["prosrc"]
        )


@pytest.mark.parametrize("name", _FUNCTIONS)
async def test_the_functions_are_for_the_services_alone(owner: asyncpg.Connection, name: str) -> None:
    """EXECUTE is everybody's until it is revoked."""
    may = await owner.fetch(
        """
        SELECT rolname FROM pg_roles
        WHERE rolname IN ('telemed_services', 'telemed_worker', 'telemed_auditor')
          AND has_function_privilege(oid, $1::text::regproc, 'EXECUTE')
        """,
        name,
    )
    assert [row["rolname"] for row in may] == ["telemed_services"]


async def test_the_look_walks_primary_keys_only(scene: Scene) -> None:
    """With tables as large as life: no scan of a table, no sort; so a million slots cost what a hundred do."""
    source = await scene.owner.fetchval("SELECT prosrc FROM pg_proc WHERE oid = 'booking.look_at_slot'::regproc")
    query = source[source.index("SELECT") : source.index("RETURN")].rstrip().rstrip(";").replace("INTO seen", "")
    values = {
        "wanted_slot": f"'{scene.slot_id}'::uuid",
        "by_user": f"'{scene.patient.id}'::uuid",
        "by_session": f"'{scene.patient.session_id}'::uuid",
        "key_caller": "'c'",
        "key_method": "'POST'",
        "key_route": "'r'",
        "key_value": "'k'",
    }
    for name, value in values.items():
        query = re.sub(rf"\b{name}\b", value, query)
    async with scene.owner.transaction():
        # The tables of a test are small enough to be read whole; what is asked is which way there is.
        await scene.owner.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        plan = "\n".join(row[0] for row in await scene.owner.fetch(f"EXPLAIN {query}"))
    assert "Seq Scan" not in plan, plan
    assert "Sort" not in plan, plan
    for index in ("slots_pkey", "doctors_pkey", "users_pkey", "sessions_pkey", "idempotency_keys_pkey"):
        assert index in plan, plan


async def test_what_is_said_and_what_is_stored_is_one(scene: Scene) -> None:
    """The reply's bytes, the appointment's row, and what others read of it later."""
    reply = await scene.book(key="k", reason="Palpitations\nsince Monday: “quoted”, 💉")

    stored = await scene.owner.fetchrow("SELECT * FROM platform.idempotency_keys WHERE caller = $1", scene.patient.id)
    assert stored is not None
    assert stored["body"] == reply.content
    shown = await scene.patient.get(f"/booking/appointments/{reply.json()['id']}")
    assert shown.content == reply.content
