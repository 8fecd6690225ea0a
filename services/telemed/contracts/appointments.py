"""The appointment: the one record that booking and consultation share, and the steps it can take.

Booking creates, cancels and moves it; consultation starts and ends it. One row, one lock and one table of steps,
so that a cancellation and a start can never both win (docs/decisions/0003-one-appointment-row.md).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import Column, DateTime, select
from sqlmodel import Field, SQLModel, col
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.contracts.ids import AppointmentId
from telemed.contracts.people import seen_by_caller
from telemed.contracts.roles import Role
from telemed.kernel.acts import Actor
from telemed.kernel.direct import Direct
from telemed.kernel.paging import Cursor
from telemed.kernel.problems import Problem


class AppointmentStatus(StrEnum):
    """Where an appointment stands.

    Clients of booking see IN_PROGRESS as booked, those of consultation see RESCHEDULED as cancelled.
    """

    BOOKED = "booked"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    NO_SHOW = "no_show"
    CANCELLED = "cancelled"
    RESCHEDULED = "rescheduled"


# Every state in which the appointment takes up its doctor's and its patient's time. The exclusion constraints
# appointments_doctor_no_overlap and appointments_patient_no_overlap hold over exactly these.
OCCUPYING = frozenset(
    {
        AppointmentStatus.BOOKED,
        AppointmentStatus.IN_PROGRESS,
        AppointmentStatus.COMPLETED,
        AppointmentStatus.NO_SHOW,
    }
)

Step = Literal["start", "complete", "no_show", "cancel", "reschedule"]
Part = Literal["patient", "doctor"]

# The whole life cycle: what may be done in which state, and where it leads.
STEPS: dict[Step, dict[AppointmentStatus, AppointmentStatus]] = {
    "start": {AppointmentStatus.BOOKED: AppointmentStatus.IN_PROGRESS},
    "complete": {AppointmentStatus.IN_PROGRESS: AppointmentStatus.COMPLETED},
    "no_show": {AppointmentStatus.BOOKED: AppointmentStatus.NO_SHOW},
    "cancel": {AppointmentStatus.BOOKED: AppointmentStatus.CANCELLED},
    "reschedule": {AppointmentStatus.BOOKED: AppointmentStatus.RESCHEDULED},
}


class StepNotAllowed(Problem):
    """The consultation's state does not allow this step."""

    status = 409

    class Extras(Problem.Extras):
        state: str = Field(description="The state it is in.")


class Appointment(SQLModel, table=True):
    """A patient's claim on a slot; from its start on, the visit itself."""

    __tablename__ = "appointments"
    __table_args__ = {"schema": "booking"}

    id: UUID = Field(primary_key=True)
    slot_id: UUID
    doctor_id: UUID
    patient_id: UUID
    status: str
    # Copied from the slot: the exclusion constraints compare them, and a slot's times never change.
    starts_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    ends_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    reason: str | None
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    started_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    completed_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    version: int = 1  # counts changes; gives events their deterministic ids


class SeenAppointment(NamedTuple):
    """An appointment as a look finds it, past the ORM: what a client may be shown of it, in the columns' order."""

    id: UUID
    slot_id: UUID
    doctor_id: UUID
    patient_id: UUID
    status: str
    starts_at: datetime
    ends_at: datetime
    reason: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


@dataclass(slots=True)
class LockedAppointment:
    """An appointment whose row is locked by this transaction, past the ORM, in the columns' order.

    What a `step` changes of it is in the database after `write_step`.
    """

    id: UUID
    slot_id: UUID
    doctor_id: UUID
    patient_id: UUID
    status: str
    starts_at: datetime
    ends_at: datetime
    reason: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    version: int


AnyAppointment = Appointment | SeenAppointment | LockedAppointment

_COLUMNS = ", ".join(f"a.{name}" for name in SeenAppointment._fields)
_MINE = f"""
    SELECT {_COLUMNS} FROM booking.appointments AS a
    WHERE {{part}}
      AND ($3::text[] IS NULL OR a.status = ANY ($3))
      AND ($4::timestamptz IS NULL OR (a.starts_at, a.id) < ($4, $5::uuid))
    ORDER BY a.starts_at DESC, a.id DESC
    LIMIT $6
"""  # noqa: S608 - columns of ours
# One appointment ($3) of whomever. Index: appointments_pkey.
APPOINTMENT = f"SELECT {_COLUMNS} FROM booking.appointments AS a WHERE a.id = $3"  # noqa: S608 - as above
LOOK_AT_APPOINTMENT = seen_by_caller(APPOINTMENT)
_LOCK = f"SELECT {_COLUMNS}, a.version FROM booking.appointments AS a WHERE a.id = $1 FOR UPDATE"  # noqa: S608 - as above
_WRITE_STEP = """
    UPDATE booking.appointments SET status = $2, version = $3, started_at = $4, completed_at = $5 WHERE id = $1
"""
# The caller's own in these states ($3, null for any) after a place ($4, $5), latest first: `part_in`, said in SQL.
# One branch for each part, because each then walks its own index (appointments_of_patient, appointments_of_doctor)
# backwards and stops at the limit; an OR would gather and sort a doctor's whole history. What a doctor has with
# themselves is the first branch's.
LOOK_AT_APPOINTMENTS = seen_by_caller(f"""
    SELECT * FROM (
        ({_MINE.format(part="a.patient_id = caller.id")})
        UNION ALL
        ({_MINE.format(part="a.doctor_id = caller.id AND a.patient_id <> caller.id AND caller.role = 'doctor'")})
    ) AS mine
    ORDER BY starts_at DESC, id DESC
    LIMIT $6
""")  # noqa: S608 - as above


def appointment_in(rows: Sequence[tuple[Any, ...]]) -> SeenAppointment | None:
    """Read what `LOOK_AT_APPOINTMENT` found."""
    return SeenAppointment._make(rows[0]) if rows else None


def appointments_in(rows: Sequence[tuple[Any, ...]]) -> list[SeenAppointment]:
    """Read what `LOOK_AT_APPOINTMENTS` found."""
    return [SeenAppointment._make(row) for row in rows]


def own_appointments(
    *, states: Collection[AppointmentStatus], after: Cursor | None, limit: int
) -> tuple[list[str] | None, datetime | None, UUID | None, int]:
    """Give the values of `LOOK_AT_APPOINTMENTS`; *states* is empty for any."""
    return list(states) or None, after.at if after else None, after.id if after else None, limit


async def lock_appointment(direct: Direct, appointment_id: AppointmentId) -> LockedAppointment | None:
    """Get the appointment for a change, locking its row until the transaction ends."""
    rows = await direct.changes(_LOCK, appointment_id)
    return LockedAppointment(*rows[0]) if rows else None


async def write_step(direct: Direct, appointment: LockedAppointment) -> None:
    """Write what a step has changed of the appointment."""
    done = appointment
    await direct.changes(_WRITE_STEP, done.id, done.status, done.version, done.started_at, done.completed_at)


async def get_appointment(session: AsyncSession, appointment_id: AppointmentId) -> Appointment | None:
    """Look the appointment up."""
    found: Appointment | None = await session.scalar(select(Appointment).where(col(Appointment.id) == appointment_id))
    return found


def part_in(appointment: AnyAppointment, actor: Actor) -> Part | None:
    """Tell which part the actor has in the appointment; None if it is not theirs.

    A patient's visits stay theirs whatever role they have now: it is their own data. A doctor's are theirs only while
    they are a doctor: the right comes with the office, so it ends, and comes back, with it.
    """
    if actor.user_id == appointment.patient_id:
        return "patient"
    if actor.user_id == appointment.doctor_id and actor.role == Role.DOCTOR:
        return "doctor"
    return None


def takes_part(appointment: AnyAppointment, actor: Actor) -> bool:
    """Tell whether this is the appointment's patient, or its doctor and still a doctor."""
    return part_in(appointment, actor) is not None


def step(appointment: LockedAppointment, wanted: Step) -> None:
    """Take the step, if the state allows it; `write_step` writes it.

    Raises:
        StepNotAllowed: naming the state that it is in.
    """
    state = AppointmentStatus(appointment.status)
    following = STEPS[wanted].get(state)
    if following is None:
        raise StepNotAllowed(f"The consultation is {state.value}.", state=state.value)
    appointment.status = following.value
    appointment.version += 1
