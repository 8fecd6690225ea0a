"""Every SQL statement on prescriptions."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from telemed.consultation.prescriptions.models import SeenPrescription
from telemed.contracts.appointments import APPOINTMENT, SeenAppointment
from telemed.contracts.ids import AppointmentId
from telemed.contracts.people import seen_by_caller
from telemed.kernel.direct import Direct

# A consultation ($3) of whomever, with every version of its prescription, newest first (constraint
# prescriptions_version_key is the index; at most MAX_VERSIONS). Without any, one row that has none.
LOOK_AT_PRESCRIPTIONS = seen_by_caller(f"""
    SELECT seen.*, {", ".join(f"p.{name}" for name in SeenPrescription._fields)}
    FROM ({APPOINTMENT}) AS seen LEFT JOIN consultation.prescriptions AS p ON p.consultation_id = seen.id
""")  # noqa: S608 - columns of ours

# Index: prescriptions_version_key, backwards.
_NEWEST = """
    SELECT p.id, p.version FROM consultation.prescriptions AS p
    WHERE p.consultation_id = $1 ORDER BY p.version DESC LIMIT 1
"""
_INSERT = f"""
    INSERT INTO consultation.prescriptions ({", ".join(SeenPrescription._fields)}, doctor_id)
    VALUES ({", ".join(f"${place + 1}" for place in range(len(SeenPrescription._fields) + 1))})
"""  # noqa: S608 - as above


class Newest(NamedTuple):
    """The version of a visit's prescription that holds now."""

    id: UUID
    version: int


def prescriptions_in(rows: Sequence[tuple[Any, ...]]) -> tuple[SeenAppointment | None, list[SeenPrescription]]:
    """Read what this statement found: the consultation and its prescriptions, newest first."""
    if not rows:
        return None, []
    width = len(SeenAppointment._fields)
    versions = [SeenPrescription._make(row[width:]) for row in rows if row[width] is not None]
    return SeenAppointment._make(rows[0][:width]), sorted(versions, key=lambda one: one.version, reverse=True)


async def newest_prescription(direct: Direct, consultation_id: AppointmentId) -> Newest | None:
    """Tell which version holds now."""
    rows = await direct.rows(_NEWEST, consultation_id)
    return Newest(*rows[0]) if rows else None


async def insert_prescription(direct: Direct, prescription: SeenPrescription, *, doctor_id: UUID) -> None:
    """Write a version down, as issued by this doctor."""
    sent = prescription._replace(items=json.dumps(prescription.items))  # type: ignore[arg-type]  # JSON travels as text
    await direct.changes(_INSERT, *sent, doctor_id)
