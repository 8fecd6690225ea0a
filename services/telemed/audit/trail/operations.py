"""Looking at the trail; the look becomes a part of it."""

from collections.abc import Sequence

from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.audit.trail import queries
from telemed.audit.trail.schemas import TrailFilter
from telemed.kernel.acts import Act
from telemed.kernel.audit import AuditEntry, AuditRecord, append_audit
from telemed.kernel.problems import FieldError, InvalidRequest


async def read_trail(session: AsyncSession, act: Act, wanted: TrailFilter) -> Sequence[AuditRecord]:
    """Give one record more than the page holds, and record who looked at what.

    Raises:
        InvalidRequest: the time window is empty, or the cursor is not one of this list.
    """
    if wanted.recorded_from and wanted.recorded_before and wanted.recorded_from >= wanted.recorded_before:
        wrong = FieldError(loc=["query", "to"], msg="Must lie after `from`.", type="window")
        raise InvalidRequest("The time window holds nothing: `to` must lie after `from`.", errors=[wrong])
    records = await queries.newest_records(session, wanted, limit=wanted.limit + 1)
    asked = wanted.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"cursor", "patient_id"})
    look = AuditEntry(
        action="audit.read",
        entity_type="audit_record",
        patient_id=wanted.patient_id,
        details={"filter": asked, "shown": min(len(records), wanted.limit)},
    )
    await append_audit(session, act, look)
    return records
