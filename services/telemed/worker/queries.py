"""Every SQL statement of the worker."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import CursorResult, TextClause, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.kernel.outbox import OutboxEvent

# Takes up to :limit due events for the time of a lease. Materialised, because the planner may otherwise run the
# locking part again for each row of the update and take more than the limit. Events are named by id and occurred_at
# everywhere here, as the second one says in which month's partition they are. Index: outbox_due of each.
_CLAIM = text(
    """
    WITH due AS MATERIALIZED (
        SELECT id, occurred_at FROM platform.outbox
        WHERE parked_at IS NULL AND delivered_at IS NULL AND available_at <= :now AND type = ANY(:types)
        ORDER BY available_at LIMIT :limit
        FOR UPDATE SKIP LOCKED
    )
    UPDATE platform.outbox AS o
    SET available_at = :leased_until, attempts = o.attempts + 1
    FROM due WHERE o.id = due.id AND o.occurred_at = due.occurred_at
    RETURNING o.id, o.type, o.payload, o.traceparent, o.occurred_at, o.available_at, o.attempts
    """
).columns(payload=JSONB)

# Notes events of types that nobody awaits as delivered. Index: outbox_due.
_NOTE_UNAWAITED = text(
    """
    WITH due AS MATERIALIZED (
        SELECT id, occurred_at FROM platform.outbox
        WHERE parked_at IS NULL AND delivered_at IS NULL AND available_at <= :now AND type <> ALL(:types)
        ORDER BY available_at LIMIT :limit
        FOR UPDATE SKIP LOCKED
    )
    UPDATE platform.outbox AS o SET delivered_at = :now
    FROM due WHERE o.id = due.id AND o.occurred_at = due.occurred_at
    """
)

# Notes that every subscriber has had the event. By a worker whose lease ran out too: it is true all the same.
_DELIVERED = text(
    """
    UPDATE platform.outbox SET delivered_at = :now, last_error = NULL, parked_at = NULL
    WHERE id = :id AND occurred_at = :occurred_at AND delivered_at IS NULL
    """
)

# Gives the event back after a failure. Only while this attempt is the last one: a worker that was frozen beyond its
# lease must not undo what another has noted meanwhile.
_FAILED = text(
    """
    UPDATE platform.outbox SET available_at = :available_at, parked_at = :parked_at, last_error = :last_error
    WHERE id = :id AND occurred_at = :occurred_at AND attempts = :attempts
      AND delivered_at IS NULL AND parked_at IS NULL
    """
)

# A subscriber's note that it has had an event. Waits for another transaction that is just noting the same.
_NOTE_HANDLED = text(
    """
    INSERT INTO platform.handled_events (subscriber, event_id, handled_at) VALUES (:subscriber, :event_id, :now)
    ON CONFLICT DO NOTHING
    """
)

# How much waits, since when, and how much was given up on. Indexes: outbox_due, outbox_parked.
_BACKLOG = text(
    """
    SELECT
        (SELECT count(*) FROM platform.outbox
         WHERE parked_at IS NULL AND delivered_at IS NULL AND available_at <= :now) AS due,
        (SELECT min(available_at) FROM platform.outbox
         WHERE parked_at IS NULL AND delivered_at IS NULL AND available_at <= :now) AS oldest_due_at,
        (SELECT count(*) FROM platform.outbox WHERE parked_at IS NOT NULL) AS parked
    """
)

# Deletes subscribers' notes of events that cannot come again: one that is parked may be requeued after months, and its
# subscribers that had it already must still know. Index: handled_events_age.
_FORGET_HANDLED = text(
    """
    DELETE FROM platform.handled_events WHERE (subscriber, event_id) IN (
        SELECT h.subscriber, h.event_id FROM platform.handled_events AS h
        WHERE h.handled_at < :before
          AND NOT EXISTS (SELECT FROM platform.outbox AS o WHERE o.id = h.event_id AND o.delivered_at IS NULL)
        ORDER BY h.handled_at LIMIT :limit
    )
    """
)

# The parked events, the one given up on first on top. Index: outbox_parked.
_PARKED = text(
    """
    SELECT id, type, occurred_at, parked_at, attempts, last_error FROM platform.outbox
    WHERE parked_at IS NOT NULL ORDER BY parked_at, id LIMIT :limit
    """
)

# Makes parked events due again, with all their attempts before them.
_REQUEUE = text(
    """
    UPDATE platform.outbox SET parked_at = NULL, attempts = 0, available_at = :now
    WHERE parked_at IS NOT NULL AND (CAST(:id AS uuid) IS NULL OR id = :id)
    """
)

# Notes the primary's timeline unless it is known; writes nothing then, not even to the log.
_NOTE_TIMELINE = text(
    """
    INSERT INTO platform.timelines (timeline, noted_at)
    SELECT t.current, :now
    FROM (SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer AS current) AS t
    WHERE NOT EXISTS (SELECT FROM platform.timelines AS known WHERE known.timeline = t.current)
    ON CONFLICT DO NOTHING
    """
)


async def _change(session: AsyncSession, statement: TextClause, **values: object) -> int:
    result = await session.execute(statement, values)
    assert isinstance(result, CursorResult)  # noqa: S101 - narrows the type only
    return result.rowcount


async def claim(
    session: AsyncSession, *, types: Sequence[str], now: datetime, leased_until: datetime, limit: int
) -> list[OutboxEvent]:
    """Lease due events of these types; each counts as an attempt from now on, so that a crash counts as one."""
    values = {"types": list(types), "now": now, "leased_until": leased_until, "limit": limit}
    rows = (await session.execute(_CLAIM, values)).mappings()
    return [OutboxEvent(**row) for row in rows]


async def note_unawaited(session: AsyncSession, *, types: Sequence[str], now: datetime, limit: int) -> int:
    """Note due events of all but these types as delivered; returns how many."""
    return await _change(session, _NOTE_UNAWAITED, types=list(types), now=now, limit=limit)


async def note_delivered(session: AsyncSession, event: OutboxEvent, *, now: datetime) -> None:
    """Note that every subscriber has had the event."""
    await _change(session, _DELIVERED, id=event.id, occurred_at=event.occurred_at, now=now)


async def note_failed(
    session: AsyncSession, event: OutboxEvent, *, error: str, available_at: datetime, parked_at: datetime | None
) -> None:
    """Give the event back, to be tried again at *available_at* or to be parked."""
    await _change(
        session,
        _FAILED,
        id=event.id,
        occurred_at=event.occurred_at,
        attempts=event.attempts,
        last_error=error,
        available_at=available_at,
        parked_at=parked_at,
    )


async def note_handled(session: AsyncSession, *, subscriber: str, event_id: UUID, now: datetime) -> bool:
    """Note that the subscriber has had the event; False if it had it before."""
    return await _change(session, _NOTE_HANDLED, subscriber=subscriber, event_id=event_id, now=now) == 1


async def backlog(session: AsyncSession, *, now: datetime) -> tuple[int, datetime | None, int]:
    """Count what is due, say since when the oldest is, and count what is parked."""
    row = (await session.execute(_BACKLOG, {"now": now})).one()
    return row.due, row.oldest_due_at, row.parked


async def forget_handled(session: AsyncSession, *, before: datetime, limit: int) -> int:
    """Delete notes older than *before* of events that will not come again; returns how many."""
    return await _change(session, _FORGET_HANDLED, before=before, limit=limit)


async def parked_events(session: AsyncSession, *, limit: int) -> list[OutboxEvent]:
    """Give parked events, the one that was parked first on top; without payload."""
    rows = (await session.execute(_PARKED, {"limit": limit})).mappings()
    return [OutboxEvent(**row) for row in rows]


async def requeue(session: AsyncSession, event_id: UUID | None, *, now: datetime) -> int:
    """Make one parked event due again, or all of them; returns how many."""
    return await _change(session, _REQUEUE, id=event_id, now=now)


async def note_timeline(session: AsyncSession, *, now: datetime) -> None:
    """Note the timeline that the primary is on."""
    await _change(session, _NOTE_TIMELINE, now=now)
