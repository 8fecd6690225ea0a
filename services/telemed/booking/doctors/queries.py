"""The directory's SQL."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.booking.doctors.models import Doctor, SeenDoctor
from telemed.contracts.ids import DoctorId
from telemed.contracts.people import seen_by_caller
from telemed.kernel.direct import Direct
from telemed.kernel.paging import Cursor
from telemed.kernel.text import lowered

_COLUMNS = ", ".join(f"d.{name}" for name in SeenDoctor._fields)
# Listed, and still a doctor: that is auth's to say, and holds at once.
_IS_SHOWN = "d.is_listed AND EXISTS (SELECT FROM auth.people AS p WHERE p.id = d.id AND p.role = 'doctor')"
# One entry ($3), listed or not, and whether patients see it. Index: doctors_pkey.
LOOK_AT_DOCTOR = seen_by_caller(
    f"SELECT {_COLUMNS}, {_IS_SHOWN} FROM booking.doctors AS d WHERE d.id = $3",  # noqa: S608 - names of ours
    or_visitor=True,
)
# The directory, of a specialization ($3) and a language ($4) if they are not null, after a place ($5, $6), in the order
# of listing. Both are in lower case. Index: doctors_directory, or doctors_by_specialization.
LOOK_AT_DOCTORS = seen_by_caller(
    f"""
    SELECT {_COLUMNS} FROM booking.doctors AS d
    WHERE {_IS_SHOWN}
      AND ($3::text IS NULL OR lower(d.specialization) = $3)
      AND ($4::text IS NULL OR $4 = ANY (lower(d.languages::text)::text[]))
      AND ($5::timestamptz IS NULL OR (d.listed_at, d.id) > ($5, $6::uuid))
    ORDER BY d.listed_at, d.id
    LIMIT $7
    """,  # noqa: S608 - names of ours
    or_visitor=True,
)

# What the doctors among these are. Index: doctors_pkey.
_SPECIALIZATIONS = "SELECT id, specialization FROM booking.doctors WHERE id = ANY($1::uuid[])"

# What a change of an entry begins with; locks its row. Index: doctors_pkey.
_LOCK = "SELECT specialization, listed_at, version FROM booking.doctors WHERE id = $1 FOR UPDATE"
_WRITTEN = (*SeenDoctor._fields, "version")
# Makes an entry, or puts this one in its place. Index: doctors_pkey.
_WRITE = f"""
    INSERT INTO booking.doctors ({", ".join(_WRITTEN)}, is_listed)
    VALUES ({", ".join(f"${place + 1}" for place in range(len(_WRITTEN)))}, true)
    ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in (*_WRITTEN[1:], "is_listed"))}
"""  # noqa: S608 - names of ours

# Lists an entry, or takes it off the list; locks its row. Index: doctors_pkey.
_LIST = "UPDATE booking.doctors SET is_listed = $2 WHERE id = $1 RETURNING specialization"


class LockedDoctor(NamedTuple):
    """What is known of an entry whose row is locked by this transaction, in the columns' order."""

    specialization: str
    listed_at: datetime
    version: int


async def lock_doctor(direct: Direct, doctor_id: UUID) -> LockedDoctor | None:
    """Get the entry for a change, locking its row until the transaction ends."""
    rows = await direct.changes(_LOCK, doctor_id)
    return LockedDoctor(*rows[0]) if rows else None


async def write_doctor(direct: Direct, doctor: SeenDoctor, *, version: int) -> None:
    """Write an entry, and list it; under the locks of whoever decided on its version."""
    await direct.changes(_WRITE, *doctor, version)


async def doctor_by_id(session: AsyncSession, doctor_id: DoctorId) -> Doctor | None:
    """Look an entry up, listed or not."""
    found: Doctor | None = await session.scalar(select(Doctor).where(col(Doctor.id) == doctor_id))
    return found


async def specializations_of(direct: Direct, doctor_ids: Collection[DoctorId]) -> dict[DoctorId, str]:
    """Look entries up, listed or not; leaves out who has none."""
    rows = await direct.rows(_SPECIALIZATIONS, list(doctor_ids))
    return {DoctorId(row["id"]): row["specialization"] for row in rows}


async def note_listing(direct: Direct, doctor_id: DoctorId, *, is_listed: bool) -> str | None:
    """Have the entry listed or not; gives its specialization, None if there is no entry."""
    rows = await direct.changes(_LIST, doctor_id, is_listed)
    return rows[0]["specialization"] if rows else None


def doctor_in(rows: Sequence[tuple[Any, ...]]) -> tuple[SeenDoctor, bool] | None:
    """Read what `LOOK_AT_DOCTOR` found: the entry, and whether patients see it."""
    return (SeenDoctor._make(rows[0][:-1]), rows[0][-1]) if rows else None


def doctors_in(rows: Sequence[tuple[Any, ...]]) -> list[SeenDoctor]:
    """Read what `LOOK_AT_DOCTORS` found."""
    return [SeenDoctor._make(row) for row in rows]


def directory_place(
    *, specialization: str | None, language: str | None, after: Cursor | None, limit: int
) -> tuple[str | None, str | None, datetime | None, UUID | None, int]:
    """Give the values of `LOOK_AT_DOCTORS`."""
    return (
        lowered(specialization) if specialization is not None else None,
        lowered(language) if language is not None else None,
        after.at if after else None,
        after.id if after else None,
        limit,
    )
