"""What the nodes hold of one drill's people, and what was ever seen to be there."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence

import asyncpg
from tests.support.waiting import until
from tests.twin.history.model import Final, Node, Row
from tests.twin.load.population import Population
from tests.twin.postgres import Node as Server
from tests.twin.twin import Twin

_LOOKS_EVERY_SECONDS = 0.5
_ANSWERS_WITHIN_SECONDS = 2.0
_GONE = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
_EVENTS = """
    SELECT type, coalesce(payload ->> 'prescription_id', payload ->> 'appointment_id', payload ->> 'consultation_id')
        AS about, delivered_at IS NULL AS waits
    FROM platform.outbox
    WHERE payload ->> 'doctor_id' = ANY($1::text[])
       OR payload ->> 'consultation_id' IN (SELECT id::text FROM booking.appointments WHERE doctor_id = ANY($1::uuid[]))
"""


class Witness:
    """Looks at every node all the time, also at one that is about to be lost, and keeps what it saw.

    Under synchronous replication a row becomes visible only once a replica has it. So what was visible on any node, and
    what the worker has delivered there, must be there in the end.
    """

    def __init__(self, twin: Twin, population: Population) -> None:
        self._twin = twin
        self._doctors = population.doctor_ids
        self._task: asyncio.Task[None] | None = None
        self.seen: set[tuple[str, str]] = set()
        self.looks = 0

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look_at(self, server: Server) -> None:
        """Look at one node now."""
        async with server.connect("telemed_owner", within_seconds=_ANSWERS_WITHIN_SECONDS) as connection:
            rows = await connection.fetch(
                "SELECT id::text FROM booking.appointments WHERE doctor_id = ANY($1::uuid[])", self._doctors
            )
            self.seen |= {("appointment.booked", row["id"]) for row in rows}
            events = await connection.fetch(_EVENTS, self._doctors)
            self.seen |= {(row["type"], row["about"]) for row in events if not row["waits"] and row["about"]}
            self.looks += 1

    async def _run(self) -> None:
        while True:
            for server in self._twin.nodes:
                if server.is_running and not server.frozen:
                    with contextlib.suppress(*_GONE):
                        await self.look_at(server)
            await asyncio.sleep(_LOOKS_EVERY_SECONDS)


async def recovered(twin: Twin, *, within_seconds: float = 60.0) -> None:
    """Wait until all three nodes are there and both replicas have everything that the primary has.

    Raises:
        AssertionError: they have not in time.
    """
    await asyncio.wait_for(twin.warden.settled(), within_seconds)

    async def all_have_it() -> bool:
        try:
            async with twin.connect() as connection:
                position = await connection.fetchval("SELECT pg_current_wal_lsn()::text")
            for replica in twin.replicas:
                async with twin.connect(replica) as connection:
                    query = "SELECT pg_is_in_recovery() AND pg_last_wal_replay_lsn() >= $1::text::pg_lsn"
                    if not await connection.fetchval(query, position):
                        return False
        except _GONE:
            return False
        return True

    await until(all_have_it, within_seconds=within_seconds, pause_seconds=0.2)


async def final_of(twin: Twin, population: Population, seen: set[tuple[str, str]]) -> Final:
    """Read what every node holds of these people, the primary first."""
    nodes = [await _read(twin, server, population) for server in (twin.primary, *twin.replicas)]
    return Final(nodes=tuple(nodes), delivered=frozenset(seen))


async def _read(twin: Twin, server: Server, population: Population) -> Node:
    doctors = population.doctor_ids
    users = [person.id for person in population.everybody]
    async with twin.connect(server) as connection:
        audit = await connection.fetch(
            """
            SELECT action, entity_id::text AS about, count(*) AS number FROM audit.records
            WHERE actor_id = ANY($1::uuid[]) AND outcome = 'allowed' AND entity_id IS NOT NULL GROUP BY 1, 2
            """,
            users,
        )
        events = await connection.fetch(_EVENTS, doctors)
        slots = "SELECT id::text, status FROM booking.slots WHERE doctor_id = ANY($1::uuid[])"
        written = (
            "SELECT id::text, consultation_id::text AS about FROM consultation.prescriptions "
            "WHERE doctor_id = ANY($1::uuid[])"
        )
        return Node(
            name=server.name,
            appointments=await _appointments(connection, doctors),
            slots={row["id"]: row["status"] for row in await connection.fetch(slots, doctors)},
            prescriptions={row["id"]: row["about"] for row in await connection.fetch(written, doctors)},
            audit={(row["action"], row["about"]): row["number"] for row in audit},
            events=Counter((row["type"], row["about"]) for row in events if row["about"]),
            undelivered=frozenset((row["type"], row["about"] or "") for row in events if row["waits"]),
        )


async def _appointments(connection: asyncpg.Connection, doctors: Sequence[str]) -> tuple[Row, ...]:
    query = """
        SELECT id::text, slot_id::text AS slot, patient_id::text AS patient, status
        FROM booking.appointments WHERE doctor_id = ANY($1::uuid[])
    """
    return tuple(Row(**dict(row)) for row in await connection.fetch(query, doctors))
