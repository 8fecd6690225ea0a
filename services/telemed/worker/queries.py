"""Every SQL statement of the worker."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import CursorResult, TextClause, text
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.kernel.direct import Direct
from telemed.kernel.outbox import OutboxEvent

# Takes up to $4 due events for the time of a lease. Materialised, because the planner may otherwise run the locking
# part again for each row of the update and take more than the limit. Events are named by id and occurred_at everywhere
# here, as the second one says in which month's partition they are. Index: outbox_due of each.
_CLAIM = """
    WITH due AS MATERIALIZED (
        SELECT id, occurred_at FROM platform.outbox
        WHERE parked_at IS NULL AND delivered_at IS NULL AND available_at <= $2 AND type = ANY($1::text[])
        ORDER BY available_at LIMIT $4
        FOR UPDATE SKIP LOCKED
    )
    UPDATE platform.outbox AS o
    SET available_at = $3, attempts = o.attempts + 1
    FROM due WHERE o.id = due.id AND o.occurred_at = due.occurred_at
    RETURNING o.id, o.type, o.payload, o.traceparent, o.occurred_at, o.available_at, o.attempts
"""

# Notes up to $3 events of types that nobody awaits as delivered. Index: outbox_due.
_NOTE_UNAWAITED = """
    WITH due AS MATERIALIZED (
        SELECT id, occurred_at FROM platform.outbox
        WHERE parked_at IS NULL AND delivered_at IS NULL AND available_at <= $2 AND type <> ALL($1::text[])
        ORDER BY available_at LIMIT $3
        FOR UPDATE SKIP LOCKED
    )
    UPDATE platform.outbox AS o SET delivered_at = $2
    FROM due WHERE o.id = due.id AND o.occurred_at = due.occurred_at
    RETURNING o.id
"""

# Notes that every subscriber has had these events. By a worker whose lease ran out too: it is true all the same.
# Between the first and the last of them, so that the planner leaves out the other months before it looks at anything.
_DELIVERED = """
    UPDATE platform.outbox AS o SET delivered_at = $5, last_error = NULL, parked_at = NULL
    FROM unnest($1::uuid[], $2::timestamptz[]) AS told (id, occurred_at)
    WHERE o.id = told.id AND o.occurred_at = told.occurred_at AND o.occurred_at BETWEEN $3 AND $4
      AND o.delivered_at IS NULL
"""

# Gives the event back after a failure. Only while this attempt is the last one: a worker that was frozen beyond its
# lease must not undo what another has noted meanwhile.
_FAILED = """
    UPDATE platform.outbox SET available_at = $4, parked_at = $5, last_error = $6
    WHERE id = $1 AND occurred_at = $2 AND attempts = $3 AND delivered_at IS NULL AND parked_at IS NULL
"""

# Gives an event back that nobody was told of, due at once and without the attempt; as above, only while it is the last.
_UNTRIED = """
    UPDATE platform.outbox SET available_at = $4, attempts = attempts - 1
    WHERE id = $1 AND occurred_at = $2 AND attempts = $3 AND delivered_at IS NULL AND parked_at IS NULL
"""

# A subscriber's notes that it has had events; gives those that it had not had. Waits for another transaction that is
# just noting the same, in one order, so that two do not wait for each other.
_NOTE_HANDLED = """
    INSERT INTO platform.handled_events (subscriber, event_id, handled_at)
    SELECT $1, told.id, $3::timestamptz FROM unnest($2::uuid[]) AS told (id) ORDER BY told.id
    ON CONFLICT DO NOTHING
    RETURNING event_id
"""

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
    direct: Direct, *, types: Sequence[str], now: datetime, leased_until: datetime, limit: int
) -> list[OutboxEvent]:
    """Lease due events of these types; each counts as an attempt from now on, so that a crash counts as one."""
    rows = await direct.changes(_CLAIM, list(types), now, leased_until, limit)
    return [OutboxEvent(**row) for row in rows]


async def note_unawaited(direct: Direct, *, types: Sequence[str], now: datetime, limit: int) -> int:
    """Note due events of all but these types as delivered; returns how many."""
    return len(await direct.changes(_NOTE_UNAWAITED, list(types), now, limit))


async def note_delivered(direct: Direct, events: Sequence[OutboxEvent], *, now: datetime) -> None:
    """Note that every subscriber has had the events."""
    instants = [event.occurred_at for event in events]
    await direct.changes(_DELIVERED, [event.id for event in events], instants, min(instants), max(instants), now)


async def note_failed(
    direct: Direct, event: OutboxEvent, *, error: str, available_at: datetime, parked_at: datetime | None
) -> None:
    """Give the event back, to be tried again at *available_at* or to be parked."""
    await direct.changes(_FAILED, event.id, event.occurred_at, event.attempts, available_at, parked_at, error)


async def note_untried(direct: Direct, event: OutboxEvent, *, available_at: datetime) -> None:
    """Give the event back as it was before it was claimed."""
    await direct.changes(_UNTRIED, event.id, event.occurred_at, event.attempts, available_at)


async def note_handled(direct: Direct, *, subscriber: str, event_ids: Sequence[UUID], now: datetime) -> set[UUID]:
    """Note that the subscriber has had the events; gives those that it had not had before."""
    return {row["event_id"] for row in await direct.changes(_NOTE_HANDLED, subscriber, list(event_ids), now)}


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
