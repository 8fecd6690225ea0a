"""The audit trail over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query

from telemed.audit.trail import operations
from telemed.audit.trail.schemas import AuditRecordReply, TrailFilter
from telemed.contracts.access import AdminReads
from telemed.kernel.audit import AuditRecord
from telemed.kernel.http.strict_json import StrictRoute
from telemed.kernel.paging import Cursor, Page, page_of
from telemed.kernel.problems import Forbidden, NotAuthenticated, raises

router = APIRouter(prefix="/audit", tags=["audit"], route_class=StrictRoute)


@router.get(
    "/events",
    response_model=Page[AuditRecordReply],
    responses=raises(NotAuthenticated, Forbidden),
    summary="Page through the audit trail",
)
async def list_audit_records(work: AdminReads, wanted: Annotated[TrailFilter, Query()]) -> Page[AuditRecordReply]:
    """Show who did what to which thing of whose, newest first. The look itself is recorded too."""
    records = await work.read_trail(operations.read_trail, wanted)
    return page_of(records, wanted.limit, item=AuditRecordReply.of, place=_place)


def _place(record: AuditRecord) -> Cursor:
    return Cursor(record.recorded_at, record.id)
