"""The appointments' SQL that only booking needs; the rest stands in the contract."""

from collections.abc import Collection

from sqlalchemy import select, tuple_
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.contracts.appointments import Appointment
from telemed.contracts.roles import Role
from telemed.kernel.acts import Actor
from telemed.kernel.paging import Cursor


async def appointments_of(
    session: AsyncSession, actor: Actor, *, statuses: Collection[str] | None, before: Cursor | None, limit: int
) -> list[Appointment]:
    """Page through somebody's appointments, latest first. Indexes: appointments_of_patient, appointments_of_doctor.

    The condition is `part_in` in SQL: a patient's stay theirs, a doctor's are theirs while they are a doctor.
    """
    starts_at, appointment_id = col(Appointment.starts_at), col(Appointment.id)
    mine = col(Appointment.patient_id) == actor.user_id
    if actor.role == Role.DOCTOR:
        mine = mine | (col(Appointment.doctor_id) == actor.user_id)
    query = select(Appointment).where(mine)
    query = query.order_by(starts_at.desc(), appointment_id.desc()).limit(limit)
    if statuses is not None:
        query = query.where(col(Appointment.status).in_(statuses))
    if before is not None:
        query = query.where(tuple_(starts_at, appointment_id) < (before.at, before.id))
    return list((await session.scalars(query)).all())
