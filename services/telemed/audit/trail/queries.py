"""Every SQL statement of the trail's API."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, select, tuple_
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.audit.trail.schemas import TrailFilter
from telemed.kernel.audit import AuditRecord
from telemed.kernel.paging import Cursor


async def newest_records(session: AsyncSession, wanted: TrailFilter, *, limit: int) -> Sequence[AuditRecord]:
    """Give the records that match, newest first, after the filter's cursor.

    Walks one index backwards, so that a page costs the same at any depth: records_patient, records_entity,
    records_actor, records_action or records_not_allowed, whichever filter is the narrowest, else records_time. The
    kind of thing has no index of its own: there are a few kinds, and each is common.
    """
    place = (col(AuditRecord.recorded_at), col(AuditRecord.id))
    statement = (
        select(AuditRecord).where(*_conditions(wanted)).order_by(*(column.desc() for column in place)).limit(limit)
    )
    after = Cursor.decode(wanted.cursor)
    if after is not None:
        statement = statement.where(tuple_(*place) < tuple_(after.at, after.id))
    return (await session.scalars(statement)).all()


def _conditions(wanted: TrailFilter) -> list[ColumnElement[bool]]:
    exact = {name: name for name in ("actor_id", "action", "entity_type", "entity_id", "patient_id", "outcome")}
    exact |= {"actor": "actor_id", "entity": "entity_id"}
    conditions: list[ColumnElement[bool]] = [
        col(getattr(AuditRecord, column)) == value
        for name, column in exact.items()
        if (value := getattr(wanted, name)) is not None
    ]
    if wanted.outcome is not None and wanted.outcome != "allowed":
        # Says the same again in the words of the partial index, which the planner otherwise cannot see.
        conditions.append(col(AuditRecord.outcome) != "allowed")
    if wanted.recorded_from is not None:
        conditions.append(col(AuditRecord.recorded_at) >= wanted.recorded_from)
    if wanted.recorded_before is not None:
        conditions.append(col(AuditRecord.recorded_at) < wanted.recorded_before)
    return conditions
