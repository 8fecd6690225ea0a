"""The directory over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from telemed.booking.doctors import operations
from telemed.booking.doctors.schemas import DoctorReply, Language, WriteDoctor
from telemed.booking.slots.replays import renews_callers_pages
from telemed.booking.slots.shelf import SlotShelf
from telemed.contracts.access import DoctorWrites, VisitorReads
from telemed.contracts.ids import DoctorId
from telemed.kernel.http.strict_json import StrictRoute
from telemed.kernel.paging import Cursor, CursorText, Limit, Page
from telemed.kernel.problems import ON_WRITES, Forbidden, NotAuthenticated, NotFound, raises
from telemed.kernel.text import Line80

router = APIRouter(prefix="/booking/doctors", tags=["doctors"], route_class=StrictRoute)


@router.put(
    "/me",
    response_model=DoctorReply,
    responses=raises(NotAuthenticated, Forbidden, *ON_WRITES),
    summary="Write one's own entry in the directory",
)
async def write_doctor(body: WriteDoctor, work: DoctorWrites) -> Response:
    """Make the entry, or replace it. The name comes from the user's registration."""
    shelf = work.resources.part(SlotShelf)
    return await work.write(
        operations.write_doctor,
        body,
        reply=lambda changed: DoctorReply.shown(changed.doctor, with_registration=True),
        after=lambda changed: shelf.renew(
            changed.doctor.id, changed.doctor.specialization, changed.previous_specialization
        ),
        after_replay=renews_callers_pages(work),
        directly=True,
    )


@router.get(
    "",
    response_model=Page[DoctorReply],
    responses=raises(NotAuthenticated),
    summary="Page through the directory",
    openapi_extra={"security": [{}]},  # added to the token's requirement: it may be left out
)
async def list_doctors(
    work: VisitorReads,
    specialization: Annotated[Line80 | None, Query(description="Field of medicine, regardless of case.")] = None,
    language: Annotated[Language | None, Query(description="A language the doctor speaks.")] = None,
    limit: Limit = 20,
    cursor: CursorText | None = None,
) -> Response:
    """Show listed doctors in the order of their listing."""
    after = Cursor.decode(cursor)
    return await work.look(
        operations.list_doctors(specialization=specialization, language=language, after=after, limit=limit)
    )


@router.get(
    "/{doctor_id}",
    response_model=DoctorReply,
    responses=raises(NotFound, NotAuthenticated),
    summary="Look one doctor up",
    openapi_extra={"security": [{}]},  # added to the token's requirement: it may be left out
)
async def read_doctor(doctor_id: UUID, work: VisitorReads) -> Response:
    """Show one doctor; the registration number only to admins and the doctor."""
    return await work.look(operations.read_doctor(DoctorId(doctor_id)))
