"""Prescriptions over HTTP: its doctor issues, both participants read."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Response

from telemed.consultation.access import by_doctor_still
from telemed.consultation.prescriptions.models import SeenPrescription
from telemed.consultation.prescriptions.operations import issue_prescription, read_prescriptions
from telemed.consultation.prescriptions.schemas import (
    CurrentPrescriptionReply,
    IssuePrescription,
    PrescriptionReply,
)
from telemed.consultation.problems import PrescribedMeanwhile, PrescriptionLimitReached, PrescriptionNotIssued
from telemed.contracts.access import UserReads, UserWrites
from telemed.contracts.appointments import StepNotAllowed
from telemed.contracts.ids import AppointmentId
from telemed.kernel.http.strict_json import StrictRoute
from telemed.kernel.problems import ON_WRITES, Forbidden, NotAuthenticated, NotFound, raises

router = APIRouter(prefix="/consultation", tags=["prescriptions"], route_class=StrictRoute)
ConsultationId = Annotated[UUID, Path(description="The consultation's id.")]


@router.post(
    "/{id}/prescription",
    status_code=201,
    response_model=PrescriptionReply,
    responses=raises(
        StepNotAllowed,
        PrescribedMeanwhile,
        PrescriptionLimitReached,
        NotAuthenticated,
        Forbidden,
        NotFound,
        *ON_WRITES,
    ),
    summary="Issue a prescription",
)
async def post_prescription(work: UserWrites, id: ConsultationId, body: IssuePrescription) -> Response:  # noqa: A002 - the API's name
    """Issue a prescription, as the visit's doctor and once it has started; a new one supersedes the one before."""
    repeated = work.repeating(by_doctor_still(AppointmentId(id), action="prescription.issue"))
    return await repeated.write(
        issue_prescription,
        AppointmentId(id),
        body,
        reply=PrescriptionReply.of,
        status=201,
        location=_address,
        directly=True,
    )


@router.get(
    "/{id}/prescription",
    response_model=CurrentPrescriptionReply,
    responses=raises(NotAuthenticated, NotFound, PrescriptionNotIssued),
    summary="Read the current prescription and its history",
)
async def get_prescription(work: UserReads, id: ConsultationId) -> Response:  # noqa: A002 - the API's name
    """Show the prescription that holds now, and those that it replaced, to the visit's patient and doctor."""
    return await work.look(read_prescriptions(AppointmentId(id)))


def _address(prescription: SeenPrescription) -> str:
    return f"/consultation/{prescription.consultation_id}/prescription"
