"""The three roles. A user has exactly one."""

from enum import StrEnum


class Role(StrEnum):
    """What a user may be."""

    PATIENT = "patient"
    DOCTOR = "doctor"
    ADMIN = "admin"
