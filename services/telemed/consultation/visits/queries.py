"""Every SQL statement on consultations that is not in contracts/appointments.py."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, literal, select, tuple_, union
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.contracts.appointments import Appointment, AppointmentStatus
from telemed.contracts.roles import Role
from telemed.kernel.acts import Actor
from telemed.kernel.paging import Cursor

_ID, _STARTS_AT = col(Appointment.id), col(Appointment.starts_at)


async def consultations_of(
    session: AsyncSession,
    actor: Actor,
    *,
    states: Sequence[AppointmentStatus],
    after: Cursor | None,
    limit: int,
) -> list[Appointment]:
    """Give the actor's own, those that start latest first. Same access rule as `contracts.appointments.part_in`.

    One branch for each part, because each then walks its own index (appointments_of_patient, appointments_of_doctor)
    backwards and stops at the limit; an OR would gather and sort a doctor's whole history.
    """
    patient, doctor = col(Appointment.patient_id), col(Appointment.doctor_id)
    mine = [patient == actor.user_id]
    if actor.role == Role.DOCTOR:
        mine.append(doctor == actor.user_id)
    conditions: list[ColumnElement[bool]] = []
    if states:
        conditions.append(col(Appointment.status).in_(states))
    if after is not None:
        conditions.append(tuple_(_STARTS_AT, _ID) < tuple_(literal(after.at), literal(after.id)))
    branches = [
        select(_ID.label("id"), _STARTS_AT.label("starts_at"))
        .where(part, *conditions)
        .order_by(_STARTS_AT.desc(), _ID.desc())
        .limit(limit)
        .subquery()
        .select()
        for part in mine
    ]
    found = union(*branches).subquery()
    rows = await session.scalars(
        select(Appointment).join(found, found.c.id == _ID).order_by(_STARTS_AT.desc(), _ID.desc()).limit(limit)
    )
    return list(rows)
