"""Every SQL statement on prescriptions."""

from sqlalchemy import select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.consultation.prescriptions.models import Prescription
from telemed.contracts.ids import AppointmentId


async def prescriptions_of(session: AsyncSession, consultation_id: AppointmentId) -> list[Prescription]:
    """Give every version, newest first (constraint prescriptions_version_key is the index; at most MAX_VERSIONS)."""
    rows = await session.scalars(
        select(Prescription)
        .where(col(Prescription.consultation_id) == consultation_id)
        .order_by(col(Prescription.version).desc())
    )
    return list(rows)


async def newest_prescription(session: AsyncSession, consultation_id: AppointmentId) -> Prescription | None:
    """Give the version that holds now."""
    found: Prescription | None = await session.scalar(
        select(Prescription)
        .where(col(Prescription.consultation_id) == consultation_id)
        .order_by(col(Prescription.version).desc())
        .limit(1)
    )
    return found
