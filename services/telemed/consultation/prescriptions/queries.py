"""Every SQL statement on prescriptions."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.consultation.prescriptions.models import Prescription, SeenPrescription
from telemed.contracts.appointments import APPOINTMENT, SeenAppointment
from telemed.contracts.ids import AppointmentId
from telemed.contracts.people import seen_by_caller

# A consultation ($3) of whomever, with every version of its prescription, newest first (constraint
# prescriptions_version_key is the index; at most MAX_VERSIONS). Without any, one row that has none.
LOOK_AT_PRESCRIPTIONS = seen_by_caller(f"""
    SELECT seen.*, {", ".join(f"p.{name}" for name in SeenPrescription._fields)}
    FROM ({APPOINTMENT}) AS seen LEFT JOIN consultation.prescriptions AS p ON p.consultation_id = seen.id
""")  # noqa: S608 - columns of ours


def prescriptions_in(rows: Sequence[tuple[Any, ...]]) -> tuple[SeenAppointment | None, list[SeenPrescription]]:
    """Read what this statement found: the consultation and its prescriptions, newest first."""
    if not rows:
        return None, []
    width = len(SeenAppointment._fields)
    versions = [SeenPrescription._make(row[width:]) for row in rows if row[width] is not None]
    return SeenAppointment._make(rows[0][:width]), sorted(versions, key=lambda one: one.version, reverse=True)


async def newest_prescription(session: AsyncSession, consultation_id: AppointmentId) -> Prescription | None:
    """Give the version that holds now."""
    found: Prescription | None = await session.scalar(
        select(Prescription)
        .where(col(Prescription.consultation_id) == consultation_id)
        .order_by(col(Prescription.version).desc())
        .limit(1)
    )
    return found
