"""What must never be true of visits, as a query. It prevents nothing: it is there to find."""

from datetime import timedelta

from telemed.contracts.appointments import AppointmentStatus
from telemed.kernel.invariants import Invariant, invariants_job

_TOOK_PLACE = f"'{AppointmentStatus.IN_PROGRESS}', '{AppointmentStatus.COMPLETED}'"

# Prescriptions of the last day without a visit that was begun: of no appointment, or of one that did not take place.
# Ids of version 7 begin with the time. Indexes: prescriptions_pkey, appointments_pkey.
_UNFOUNDED = f"""
    SELECT p.id FROM consultation.prescriptions AS p
    LEFT JOIN booking.appointments AS a ON a.id = p.consultation_id
    WHERE p.id >= platform.uuid7_floor(CAST(:now AS timestamptz) - interval '1 day')
      AND (a.started_at IS NULL OR a.status NOT IN ({_TOOK_PLACE}))
"""  # noqa: S608 - our own states

UNFOUNDED = (Invariant("prescription_unfounded", _UNFOUNDED),)
JOBS = (invariants_job("invariants-consultation", timedelta(minutes=1), UNFOUNDED),)
