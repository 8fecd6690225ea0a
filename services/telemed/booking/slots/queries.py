"""The slots' SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.booking.problems import SlotContended
from telemed.booking.slots.models import SlotStatus
from telemed.contracts.ids import DoctorId, SlotId
from telemed.kernel.direct import Direct, StatementFailed
from telemed.kernel.locks import timed_lock
from telemed.kernel.sqlstates import LOCK_NOT_AVAILABLE, sqlstate

# How long a transaction waits for a slot's row. Whoever holds it needs milliseconds; a second means a stalled process.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"

# The columns of `SlotNow`. A slot is only bookable while its doctor still is one; that is auth's to say, now, not when
# the entry was listed. Indexes: the primary keys of slots, doctors and users.
_LOCK_SLOT = """
    SELECT s.id, s.doctor_id, s.starts_at, s.ends_at, s.status, s.version, d.specialization, p.role AS doctor_role
    FROM booking.slots AS s
    JOIN booking.doctors AS d ON d.id = s.doctor_id
    JOIN auth.people AS p ON p.id = s.doctor_id
    WHERE s.id = $1
    FOR UPDATE OF s
"""
# Changes a slot's status and counts the change. Index: slots_pkey.
_SET_STATUS = "UPDATE booking.slots SET status = $2, version = version + 1 WHERE id = $1"

_OVERLAPPING = text(
    """
    SELECT s.id, s.starts_at, s.ends_at
    FROM booking.slots AS s
    JOIN unnest(:starts, :ends) AS wanted (starts_at, ends_at)
      ON tstzrange(s.starts_at, s.ends_at) && tstzrange(wanted.starts_at, wanted.ends_at)
    WHERE s.doctor_id = :doctor_id AND s.status <> 'withdrawn'
    ORDER BY s.starts_at
    LIMIT 1
    """
).bindparams(
    bindparam("starts", type_=ARRAY(DateTime(timezone=True))), bindparam("ends", type_=ARRAY(DateTime(timezone=True)))
)


@dataclass(frozen=True, slots=True)
class SlotNow:
    """A slot, with what its doctor is at the same moment, in the columns' order."""

    id: UUID
    doctor_id: UUID
    starts_at: datetime
    ends_at: datetime
    status: str
    version: int
    specialization: str
    doctor_role: str | None


async def lock_slot(direct: Direct, slot_id: SlotId) -> SlotNow | None:
    """Lock the slot's row until the transaction ends; the first wall against double booking.

    Raises:
        SlotContended: somebody else held it for longer than a healthy transaction lasts.
    """
    await direct.changes(_LOCK_TIMEOUT)
    try:
        with timed_lock(direct):
            rows = await direct.changes(_LOCK_SLOT, slot_id)
    except StatementFailed as failed:
        if sqlstate(failed) == LOCK_NOT_AVAILABLE:
            raise SlotContended from failed
        raise
    return SlotNow(*rows[0]) if rows else None


async def set_slot_status(direct: Direct, slot_id: UUID, status: SlotStatus) -> None:
    """Change the status and count the change."""
    await direct.changes(_SET_STATUS, slot_id, status)


async def overlapping_slot(
    session: AsyncSession, doctor_id: DoctorId, starts: Sequence[datetime], ends: Sequence[datetime]
) -> tuple[UUID, datetime, datetime] | None:
    """Find the doctor's first slot that is in the way of any of these. Index: slots_no_overlap."""
    found = await session.execute(_OVERLAPPING, {"doctor_id": doctor_id, "starts": list(starts), "ends": list(ends)})
    row = found.one_or_none()
    return (row.id, row.starts_at, row.ends_at) if row is not None else None
