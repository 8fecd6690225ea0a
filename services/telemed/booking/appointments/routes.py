"""Appointments over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from telemed.booking.appointments import operations
from telemed.booking.appointments.desk import OpenDesk
from telemed.booking.appointments.operations import Changed
from telemed.booking.appointments.outcomes import counted
from telemed.booking.appointments.rules import ShownStatus
from telemed.booking.appointments.schemas import AppointmentReply, BookSlot, MoveAppointment
from telemed.booking.problems import (
    AppointmentBegun,
    DifferentDoctor,
    PatientBusy,
    SlotContended,
    SlotStarted,
    SlotTaken,
)
from telemed.booking.slots.replays import renews_appointments_pages
from telemed.booking.slots.shelf import SlotShelf
from telemed.contracts.access import PatientWrites, UserReads, UserWrites
from telemed.contracts.appointments import StepNotAllowed
from telemed.contracts.ids import AppointmentId
from telemed.kernel.http.strict_json import StrictRoute
from telemed.kernel.paging import Cursor, CursorText, Limit, Page
from telemed.kernel.problems import ON_WRITES, Forbidden, NotAuthenticated, NotFound, raises

router = APIRouter(prefix="/booking", tags=["appointments"], route_class=StrictRoute)

_REFUSED = (SlotTaken, SlotContended, SlotStarted, PatientBusy, NotFound)


def _reply(changed: Changed) -> AppointmentReply:
    return AppointmentReply.of(changed.appointment)


def _location(changed: Changed) -> str:
    return f"/consultation/{changed.appointment.id}"


@router.post(
    "/slots/book",
    status_code=201,
    response_model=AppointmentReply,
    responses=raises(*_REFUSED, NotAuthenticated, Forbidden, *ON_WRITES),
    summary="Book a slot",
)
async def book_slot(body: BookSlot, work: PatientWrites) -> Response:
    """Claim a slot. The consultation at `Location` is valid at once."""
    shelf, desk = work.resources.part(SlotShelf), work.resources.part(OpenDesk)
    booking = work.write_directly(
        lambda entry: operations.book_slot(desk, entry, body),
        after=shelf.note_change,
        after_replay=renews_appointments_pages(work),
    )
    return await counted(work.resources.metrics, booking)


@router.get(
    "/appointments",
    response_model=Page[AppointmentReply],
    responses=raises(NotAuthenticated),
    summary="Page through one's own appointments",
)
async def list_appointments(
    work: UserReads,
    status: Annotated[ShownStatus | None, Query(description="Only those that stand here.")] = None,
    limit: Limit = 20,
    cursor: CursorText | None = None,
) -> Response:
    """Show the caller's appointments, latest first."""
    return await work.look(operations.list_appointments(status=status, after=Cursor.decode(cursor), limit=limit))


@router.get(
    "/appointments/{appointment_id}",
    response_model=AppointmentReply,
    responses=raises(NotFound, NotAuthenticated),
    summary="Look one appointment up",
)
async def read_appointment(appointment_id: UUID, work: UserReads) -> Response:
    """Show an appointment to its patient or its doctor; to everybody else it does not exist."""
    return await work.look(operations.read_appointment(AppointmentId(appointment_id)))


@router.post(
    "/appointments/{appointment_id}/cancel",
    response_model=AppointmentReply,
    responses=raises(StepNotAllowed, AppointmentBegun, SlotContended, NotFound, NotAuthenticated, *ON_WRITES),
    summary="Cancel an appointment",
)
async def cancel_appointment(appointment_id: UUID, work: UserWrites) -> Response:
    """Give the slot back: it is open again at once."""
    shelf = work.resources.part(SlotShelf)
    repeated = work.repeating(operations.theirs_still(AppointmentId(appointment_id), action="appointment.cancel"))
    return await repeated.write(
        operations.cancel_appointment,
        AppointmentId(appointment_id),
        reply=_reply,
        after=shelf.note_change,
        after_replay=renews_appointments_pages(work),
        directly=True,
    )


@router.post(
    "/appointments/{appointment_id}/reschedule",
    response_model=AppointmentReply,
    responses=raises(StepNotAllowed, AppointmentBegun, DifferentDoctor, *_REFUSED, NotAuthenticated, *ON_WRITES),
    summary="Move an appointment to another slot",
)
async def move_appointment(appointment_id: UUID, body: MoveAppointment, work: UserWrites) -> Response:
    """Exchange the slot for another one of the same doctor, in one step or not at all; gives the new appointment."""
    shelf = work.resources.part(SlotShelf)
    repeated = work.repeating(operations.theirs_still(AppointmentId(appointment_id), action="appointment.reschedule"))
    return await repeated.write(
        operations.move_appointment,
        AppointmentId(appointment_id),
        body,
        reply=_reply,
        location=_location,
        after=shelf.note_change,
        after_replay=renews_appointments_pages(work),
    )
