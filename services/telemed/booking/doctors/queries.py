"""The directory's SQL."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Text, and_, any_, cast, func, literal, select, text, tuple_
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.booking.doctors.models import Doctor
from telemed.contracts.ids import DoctorId
from telemed.kernel.direct import Direct
from telemed.kernel.paging import Cursor

# What the doctors among these are. Index: doctors_pkey.
_SPECIALIZATIONS = "SELECT id, specialization FROM booking.doctors WHERE id = ANY($1::uuid[])"

# Lists an entry, or takes it off the list; locks its row. Index: doctors_pkey.
_LIST = "UPDATE booking.doctors SET is_listed = $2 WHERE id = $1 RETURNING specialization"


async def doctor_for_update(session: AsyncSession, doctor_id: UUID) -> Doctor | None:
    """Get the entry for a change, locking its row."""
    found: Doctor | None = await session.scalar(
        select(Doctor).where(col(Doctor.id) == doctor_id).with_for_update().execution_options(populate_existing=True)
    )
    return found


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


async def is_shown_doctor(session: AsyncSession, doctor_id: DoctorId) -> bool:
    """Tell whether patients see the entry."""
    return await session.scalar(select(col(Doctor.id)).where(col(Doctor.id) == doctor_id, is_shown())) is not None


async def listed_doctors(
    session: AsyncSession, *, specialization: str | None, language: str | None, after: Cursor | None, limit: int
) -> list[Doctor]:
    """Page through the directory in the order of listing. Index: doctors_directory."""
    place = tuple_(col(Doctor.listed_at), col(Doctor.id))
    query = select(Doctor).where(is_shown()).order_by(col(Doctor.listed_at), col(Doctor.id)).limit(limit)
    if specialization is not None:
        query = query.where(func.lower(col(Doctor.specialization)) == specialization.lower())
    if language is not None:
        query = query.where(speaks(language))
    if after is not None:
        query = query.where(place > (after.at, after.id))
    return list((await session.scalars(query)).all())


def is_shown() -> ColumnElement[bool]:
    """Tell whether the doctor is listed, and still is a doctor: that is auth's to say, and holds at once."""
    is_doctor = text("EXISTS (SELECT FROM auth.people AS p WHERE p.id = booking.doctors.id AND p.role = 'doctor')")
    return and_(col(Doctor.is_listed), is_doctor)


def speaks(language: str) -> ColumnElement[bool]:
    """Tell whether the doctor speaks the language, regardless of case."""
    return literal(language.lower()) == any_(cast(func.lower(cast(col(Doctor.languages), Text)), ARRAY(Text)))
