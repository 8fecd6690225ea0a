"""The booking's SQL: two calls of functions that migration 0010 defines, and a question of a move."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from telemed.booking.problems import SlotContended
from telemed.booking.slots.queries import SlotNow
from telemed.contracts.appointments import OCCUPYING
from telemed.contracts.ids import AppointmentId, PatientId, SlotId
from telemed.contracts.roles import Role
from telemed.contracts.work import Entry
from telemed.kernel.acts import Act
from telemed.kernel.audit import AuditEntry
from telemed.kernel.direct import Direct, Row, StatementFailed
from telemed.kernel.idempotency import Once, Reply
from telemed.kernel.ids import uuid7
from telemed.kernel.locks import lock_number
from telemed.kernel.outbox import Event
from telemed.kernel.sqlstates import LOCK_NOT_AVAILABLE, sqlstate

# Indexes: the primary keys of slots, doctors, users (twice), sessions and idempotency_keys. Neither locks nor waits.
LOOK = "SELECT * FROM booking.look_at_slots($1, $2, $3, $4, $5, $6, $7)"
# The same and the walls'. Writes what it is given if everything still is as it was seen, otherwise nothing.
BOOK = f"SELECT * FROM booking.book_slot({', '.join(f'${n}' for n in range(1, 30))})"  # noqa: S608 - numbers

# Whether a patient ($1) has something at this time; constraint appointments_patient_no_overlap is the index.
_BUSY = f"""
    SELECT EXISTS (
        SELECT FROM booking.appointments AS a
        WHERE a.patient_id = $1 AND tstzrange(a.starts_at, a.ends_at) && tstzrange($2, $3)
          AND a.status IN ({", ".join(f"'{status}'" for status in sorted(OCCUPYING))})
    ) AS is_busy
"""  # noqa: S608 - words of ours


@dataclass(frozen=True, slots=True)
class Wish:
    """Somebody who wants a slot."""

    entry: Entry
    slot_id: SlotId


@dataclass(frozen=True, slots=True)
class Sight:
    """What there was at one moment: the caller's role, the slot with its doctor, and the reply under the key.

    *is_claimed* is False if another request under the key is running; *is_booked* says that the slot is the caller's.
    """

    caller_role: Role | None
    slot: SlotNow | None
    reply: Reply | None
    request_hash: bytes  # of the request that the reply was given to
    is_claimed: bool
    is_booked: bool


@dataclass(frozen=True, slots=True)
class Booking:
    """What is to be written, all of it or nothing."""

    appointment_id: AppointmentId
    reason: str | None
    entry: AuditEntry
    event: Event
    reply: Reply


async def is_busy(direct: Direct, patient_id: PatientId, slot: SlotNow) -> bool:
    """Tell whether the patient has another appointment in the slot's time; lasting under the patient's lock."""
    (row,) = await direct.rows(_BUSY, patient_id, slot.starts_at, slot.ends_at)
    return bool(row["is_busy"])


async def look_at_slots(direct: Direct, wishes: Sequence[Wish]) -> list[Sight]:
    """Look without a lock, for one or for many; losers of a race leave after this one round trip."""
    values = [(wish.slot_id, wish.entry.user_id, wish.entry.session_id, *_place(wish.entry.once)) for wish in wishes]
    rows = await direct.rows(LOOK, *map(list, zip(*values, strict=True)))
    return [_sight(row, wish.slot_id) for row, wish in zip(rows, wishes, strict=True)]


async def book_slot(direct: Direct, entry: Entry, act: Act, slot: SlotNow, booking: Booking) -> Sight:
    """Write the booking under the locks of key, patient and slot, if all that *slot* and *act* say still holds.

    Raises:
        SlotContended: somebody else held the row for longer than a healthy transaction lasts.
        PatientBusy, SlotTaken: by constraint.
    """
    once = entry.once
    asked_at = time.perf_counter()
    try:
        row = await direct.change(
            BOOK,
            *(slot.id, entry.user_id, entry.session_id, *_place(once)),
            *(act.known_actor.role, slot.doctor_role, slot.status, slot.version),
            *(once.lock_number if once else None, lock_number("patient", PatientId(entry.user_id))),
            *(act.now, booking.appointment_id, booking.reason),
            *(uuid7(), booking.entry.action, act.request_id, act.trace_id, act.client_address),
            *(booking.event.id, booking.event.type, json.dumps(booking.event.payload), act.traceparent),
            *(once.kept(booking.reply) if once else (None, None, None, None)),
        )
    except StatementFailed as failed:
        if sqlstate(failed) == LOCK_NOT_AVAILABLE:
            direct.note_lock_wait(time.perf_counter() - asked_at)
            raise SlotContended from failed
        raise
    if row["waited_seconds"] is not None:
        direct.note_lock_wait(row["waited_seconds"])
    return _sight(row, SlotId(slot.id))


def _place(once: Once | None) -> tuple[str | None, ...]:
    return once.place if once else (None, None, None, None)


def _sight(row: Row, slot_id: SlotId) -> Sight:
    role, doctor_id, starts_at, ends_at, status, version, specialization, doctor_role = row[:8]
    request_hash, reply_status, reply_headers, reply_body, is_claimed, is_booked, _ = row[8:]
    return Sight(
        Role(role) if role is not None else None,
        SlotNow(slot_id, doctor_id, starts_at, ends_at, status, version, specialization, doctor_role)
        if doctor_id is not None
        else None,
        Reply(reply_status, reply_body, json.loads(reply_headers)) if reply_status is not None else None,
        request_hash or b"",
        is_claimed=is_claimed is not False,  # a look claims nothing
        is_booked=is_booked is True,
    )
