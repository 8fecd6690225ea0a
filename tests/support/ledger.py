"""Looks at the whole database after a trial, past the code under test, and says what does not add up."""

from collections.abc import Mapping

import asyncpg
from tests.support.waiting import until

from telemed.contracts.appointments import OCCUPYING
from telemed.kernel.outbox import Subscription
from telemed.kernel.service import Service

_OCCUPYING = ", ".join(f"'{status.value}'" for status in sorted(OCCUPYING))

# What must hold of every appointment and slot, whatever was killed meanwhile: a name, and the rows that break it.
FAULTS: Mapping[str, str] = {
    "slot with two appointments": f"""
        SELECT slot_id FROM booking.appointments WHERE status IN ({_OCCUPYING})
        GROUP BY slot_id HAVING count(*) > 1
    """,
    "doctor or patient in two places": f"""
        SELECT a.id FROM booking.appointments AS a JOIN booking.appointments AS b
            ON a.id < b.id AND (a.doctor_id = b.doctor_id OR a.patient_id = b.patient_id)
           AND a.starts_at < b.ends_at AND b.starts_at < a.ends_at
        WHERE a.status IN ({_OCCUPYING}) AND b.status IN ({_OCCUPYING})
    """,
    "slot whose status is not that of its appointment": f"""
        SELECT s.id FROM booking.slots AS s
        WHERE (s.status = 'booked') <> EXISTS (
            SELECT FROM booking.appointments AS a WHERE a.slot_id = s.id AND a.status IN ({_OCCUPYING})
        )
    """,
    "appointment without its one audit record": """
        SELECT a.id FROM booking.appointments AS a LEFT JOIN audit.records AS r
            ON r.entity_id = a.id AND r.action = 'appointment.book' AND r.outcome = 'allowed'
        GROUP BY a.id HAVING count(r.id) <> 1
    """,
    "appointment without its one event": """
        SELECT a.id FROM booking.appointments AS a LEFT JOIN platform.outbox AS e
            ON e.type = 'appointment.booked' AND e.payload ->> 'appointment_id' = a.id::text
        GROUP BY a.id HAVING count(e.id) <> 1
    """,
    "audit record of an appointment that is not there": """
        SELECT r.id FROM audit.records AS r
        WHERE r.action = 'appointment.book' AND r.outcome = 'allowed'
          AND NOT EXISTS (SELECT FROM booking.appointments AS a WHERE a.id = r.entity_id)
    """,
    "event of an appointment that is not there": """
        SELECT e.id FROM platform.outbox AS e
        WHERE e.type = 'appointment.booked'
          AND NOT EXISTS (SELECT FROM booking.appointments AS a WHERE a.id::text = e.payload ->> 'appointment_id')
    """,
    "stored reply of an appointment that is not there": """
        SELECT k.key FROM platform.idempotency_keys AS k
        WHERE k.route = '/booking/slots/book' AND k.status = 201
          AND NOT EXISTS (
              SELECT FROM booking.appointments AS a WHERE '/consultation/' || a.id = k.headers ->> 'Location'
          )
    """,
    # Which transaction wrote a row is in its xmin; audit records and stored replies are never changed afterwards.
    "appointment, audit record and stored reply of different transactions": """
        SELECT k.key FROM platform.idempotency_keys AS k
        JOIN booking.appointments AS a ON '/consultation/' || a.id = k.headers ->> 'Location'
        JOIN audit.records AS r ON r.entity_id = a.id AND r.action = 'appointment.book'
        WHERE k.route = '/booking/slots/book' AND (k.xmin <> r.xmin OR a.version = 1 AND k.xmin <> a.xmin)
    """,
}


async def faults(owner: asyncpg.Connection) -> dict[str, list[str]]:
    """Give every rule that is broken, with the rows that break it; empty when all is well."""
    found = {name: [str(row[0]) for row in await owner.fetch(query)] for name, query in FAULTS.items()}
    return {name: rows for name, rows in found.items() if rows}


async def let_leases_run_out(owner: asyncpg.Connection) -> None:
    """Move the undelivered events to the time when a dead worker's leases are over, instead of waiting a minute."""
    await owner.execute(
        "UPDATE platform.outbox SET available_at = least(available_at, now()) WHERE delivered_at IS NULL"
    )


async def caught_up(owner: asyncpg.Connection, *, within_seconds: float = 30.0) -> None:
    """Wait until a worker has delivered every event and chained every record.

    Raises:
        AssertionError: it has not in time, or an event was given up on.
    """

    async def nothing_waits() -> bool:
        waiting = await owner.fetchval(
            """
            SELECT (SELECT count(*) FROM platform.outbox WHERE delivered_at IS NULL)
                 + (SELECT count(*) FROM audit.unchained)
            """
        )
        return bool(waiting == 0)

    await until(nothing_waits, within_seconds=within_seconds, pause_seconds=0.1)
    assert await owner.fetchval("SELECT count(*) FROM platform.outbox WHERE parked_at IS NOT NULL") == 0
    assert await owner.fetchval("SELECT count(*) FROM audit.records") == await owner.fetchval(
        "SELECT count(*) FROM audit.chain"
    )


async def undelivered(owner: asyncpg.Connection, services: tuple[Service, ...]) -> set[tuple[str, str]]:
    """Compare what subscribers have noted as handled with what they asked for; gives the difference, both ways."""
    wishes: list[Subscription] = [wish for service in services for wish in service.subscriptions]
    expected = set()
    for wish in wishes:
        rows = await owner.fetch("SELECT id FROM platform.outbox WHERE type = $1", wish.event_type)
        expected |= {(wish.subscriber, str(row["id"])) for row in rows}
    handled = {
        (row["subscriber"], str(row["event_id"]))
        for row in await owner.fetch("SELECT subscriber, event_id FROM platform.handled_events")
    }
    return expected ^ handled
