"""The visit over HTTP: own consultations, and what its doctor does with one."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response

from telemed.consultation.access import by_doctor_still
from telemed.consultation.problems import NoShowTooEarly, VisitLapsed, VisitNotOpenYet
from telemed.consultation.visits.operations import (
    complete_visit,
    list_consultations,
    read_consultation,
    record_no_show,
    start_visit,
)
from telemed.consultation.visits.rules import VisitStatus
from telemed.consultation.visits.schemas import ConsultationReply
from telemed.contracts.access import UserReads, UserWrites
from telemed.contracts.appointments import StepNotAllowed
from telemed.contracts.ids import AppointmentId
from telemed.kernel.http.strict_json import StrictRoute
from telemed.kernel.paging import Cursor, CursorText, Limit, Page
from telemed.kernel.problems import ON_WRITES, Forbidden, NotAuthenticated, NotFound, Problem, raises

router = APIRouter(prefix="/consultation", tags=["consultations"], route_class=StrictRoute)
ConsultationId = Annotated[UUID, Path(description="The consultation's id; the same as its appointment's.")]
_STEP_PROBLEMS: tuple[type[Problem], ...] = (StepNotAllowed, NotAuthenticated, Forbidden, NotFound, *ON_WRITES)


@router.get(
    "",
    response_model=Page[ConsultationReply],
    responses=raises(NotAuthenticated),
    summary="List own consultations, those that start latest first",
)
async def get_consultations(
    work: UserReads,
    status: Annotated[VisitStatus | None, Query(description="Only those that stand here.")] = None,
    limit: Limit = 20,
    cursor: CursorText | None = None,
) -> Response:
    """List the consultations in which the caller takes part, as patient or as doctor."""
    return await work.look(list_consultations(status=status, after=Cursor.decode(cursor), limit=limit))


@router.get(
    "/{id}",
    response_model=ConsultationReply,
    responses=raises(NotAuthenticated, NotFound),
    summary="Read a consultation",
)
async def get_consultation(work: UserReads, id: ConsultationId) -> Response:  # noqa: A002 - the API's name
    """Show a consultation to its patient and its doctor; the id is valid from the moment of booking."""
    return await work.look(read_consultation(AppointmentId(id)))


@router.post(
    "/{id}/start",
    response_model=ConsultationReply,
    responses=raises(VisitNotOpenYet, VisitLapsed, *_STEP_PROBLEMS),
    summary="Start a visit",
)
async def post_start(work: UserWrites, id: ConsultationId) -> Response:  # noqa: A002 - the API's name
    """Start a booked visit, as its doctor: from shortly before its time until a day after its end."""
    opens_before = timedelta(minutes=work.resources.settings.visit_opens_before_minutes)
    repeated = work.repeating(by_doctor_still(AppointmentId(id), action="consultation.start"))
    return await repeated.write(start_visit, AppointmentId(id), opens_before, reply=ConsultationReply.of, directly=True)


@router.post(
    "/{id}/complete",
    response_model=ConsultationReply,
    responses=raises(*_STEP_PROBLEMS),
    summary="Complete a visit",
)
async def post_complete(work: UserWrites, id: ConsultationId) -> Response:  # noqa: A002 - the API's name
    """Complete a visit that is in progress, as its doctor."""
    repeated = work.repeating(by_doctor_still(AppointmentId(id), action="consultation.complete"))
    return await repeated.write(complete_visit, AppointmentId(id), reply=ConsultationReply.of, directly=True)


@router.post(
    "/{id}/no-show",
    response_model=ConsultationReply,
    responses=raises(NoShowTooEarly, *_STEP_PROBLEMS),
    summary="Record that the patient did not come",
)
async def post_no_show(work: UserWrites, id: ConsultationId) -> Response:  # noqa: A002 - the API's name
    """Record, as its doctor and from its time on, that the patient of a booked visit did not come."""
    repeated = work.repeating(by_doctor_still(AppointmentId(id), action="consultation.no_show"))
    return await repeated.write(record_no_show, AppointmentId(id), reply=ConsultationReply.of, directly=True)
