"""Ids as types of their own, so that a doctor's cannot be passed where a patient's belongs."""

from typing import NewType
from uuid import UUID

UserId = NewType("UserId", UUID)
PatientId = NewType("PatientId", UUID)
DoctorId = NewType("DoctorId", UUID)
SlotId = NewType("SlotId", UUID)
AppointmentId = NewType("AppointmentId", UUID)  # also the id of the consultation that the appointment becomes
PrescriptionId = NewType("PrescriptionId", UUID)
