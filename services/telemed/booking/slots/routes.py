"""Slots over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from telemed.booking.problems import ProfileMissing, SlotBooked, SlotContended, SlotOverlap
from telemed.booking.slots import operations
from telemed.booking.slots.replays import renews_callers_pages
from telemed.booking.slots.rules import require_sensible_range
from telemed.booking.slots.schemas import FoundSlots, PublishedSlots, PublishSlots, SearchSlots, SlotReply
from telemed.booking.slots.search import SlotSearch
from telemed.booking.slots.shelf import SlotShelf
from telemed.contracts.access import AnybodyReads, DoctorWrites
from telemed.contracts.ids import SlotId
from telemed.kernel.http.strict_json import StrictRoute
from telemed.kernel.problems import ON_WRITES, Forbidden, NotAuthenticated, NotFound, raises

router = APIRouter(prefix="/booking/slots", tags=["slots"], route_class=StrictRoute)


@router.post(
    "",
    status_code=201,
    response_model=PublishedSlots,
    responses=raises(SlotOverlap, ProfileMissing, NotAuthenticated, Forbidden, *ON_WRITES),
    summary="Publish slots",
)
async def publish_slots(body: PublishSlots, work: DoctorWrites) -> Response:
    """Make one slot or a batch bookable: all of them, or none."""
    shelf = work.resources.part(SlotShelf)
    return await work.write(
        operations.publish_slots,
        body,
        reply=lambda published: PublishedSlots(items=[SlotReply.of(slot) for slot in published.slots]),
        status=201,
        after=lambda published: shelf.renew(published.doctor_id, published.specialization),
        after_replay=renews_callers_pages(work),
    )


@router.delete(
    "/{slot_id}",
    status_code=204,
    responses=raises(SlotBooked, SlotContended, NotFound, NotAuthenticated, Forbidden, *ON_WRITES),
    summary="Withdraw an open slot",
)
async def withdraw_slot(slot_id: UUID, work: DoctorWrites) -> Response:
    """Take back a slot that nobody has booked."""
    shelf = work.resources.part(SlotShelf)
    return await work.write(
        operations.withdraw_slot,
        SlotId(slot_id),
        reply=lambda _: None,
        status=204,
        after=shelf.note_change,
        after_replay=renews_callers_pages(work),
        directly=True,
    )


@router.get("/search", response_model=FoundSlots, responses=raises(), summary="Search open slots")
async def search_slots(work: AnybodyReads, wanted: Annotated[SearchSlots, Query()]) -> Response:
    """Find open slots in the order of time. A slot that was booked is gone the moment its booking is acknowledged."""
    require_sensible_range(wanted.starts_from, wanted.starts_before)
    asked = work.request.scope["query_string"]
    body, age = await work.resources.part(SlotSearch).find(wanted, asked=asked)
    headers = {} if age is None else {"Age": str(int(age.total_seconds())), "Warning": '110 - "Response is stale"'}
    return Response(body, media_type="application/json", headers=headers)
