"""A service of one thing, a counter, for what the kernel and `contracts.access` promise to every service."""

import asyncio
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession
from tests.support.counters import add

from telemed.contracts.access import AnybodyReads, UserReads, UserWrites
from telemed.contracts.looks import Found, Look, Shown
from telemed.contracts.people import seen_by_caller
from telemed.kernel.acts import Act
from telemed.kernel.audit import AuditEntry
from telemed.kernel.http.strict_json import StrictRoute
from telemed.kernel.problems import (
    ON_WRITES,
    Forbidden,
    InternalError,
    NotAuthenticated,
    NotFound,
    Overloaded,
    Problem,
    raises,
)
from telemed.kernel.service import Service


class CounterClosed(Problem):
    """The counter takes nothing more."""

    status = 409

    class Extras(Problem.Extras):
        state: str = Field(default="closed", description="The state it is in.")


class CounterFull(Problem):
    """The counter cannot hold so much."""

    status = 409


class Undeclared(Problem):
    """No route says so."""

    status = 418


class CountRequest(BaseModel):
    """What to add."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"by": 1}})

    by: StrictInt = Field(ge=-2_000_000_000, le=2_000_000_000, description="How much to add.")
    note: str = Field(default="", max_length=200_000, description="Anything.")
    end: Literal["well", "closed", "not-yours", "busy", "broken", "bug", "undeclared", "slow"] = Field(
        default="well", description="How it ends."
    )


class CountReply(BaseModel):
    """The counter's value."""

    model_config = ConfigDict(json_schema_extra={"example": {"value": 1, "request_id": "abc"}})

    value: int = Field(description="After the addition.")
    request_id: str = Field(description="Of the request that did it; so that two replies are never alike by chance.")


async def count(session: AsyncSession, act: Act, counters: str, number: int, body: CountRequest) -> CountReply:
    """Add to the counter, then end as the body says."""
    value = await add(session, counters, number, body.by)
    endings: dict[str, Exception] = {
        "closed": CounterClosed("The counter is closed.", state="closed"),
        "not-yours": NotFound(denial=AuditEntry(action="counter.count", entity_type="counter", outcome="denied")),
        "busy": Overloaded(),
        "broken": InternalError(),
        "bug": ValueError(f"what the patient wrote: {body.note}"),
        "undeclared": Undeclared(),
    }
    if body.end in endings:
        raise endings[body.end]
    if body.end == "slow":
        await session.execute(text("SELECT pg_sleep(0.3)"))
    return CountReply(value=value, request_id=act.request_id)


def look(counters: str) -> Look[CountReply]:
    """Read the first counter."""

    def judge(_act: Act, rows: Found) -> Shown[CountReply]:
        return Shown(CountReply(value=rows[0][0], request_id=""))

    return Look(seen_by_caller(f"SELECT value FROM {counters} WHERE id = 1"), (), judge)  # a fixture's name


def tiny_service(counters: str) -> Service:
    """Give the service on this table of counters."""
    router = APIRouter(prefix="/tiny", tags=["tiny"], route_class=StrictRoute)
    declared = raises(CounterClosed, CounterFull, NotAuthenticated, Forbidden, NotFound, *ON_WRITES)

    @router.post("/one", response_model=CountReply, responses=declared, status_code=201)
    async def count_one(work: UserWrites, body: CountRequest) -> Response:
        return await work.write(count, counters, 1, body, reply=lambda reply: reply, status=201)

    @router.post("/two", response_model=CountReply, responses=declared, status_code=201)
    async def count_two(work: UserWrites, body: CountRequest) -> Response:
        return await work.write(count, counters, 2, body, reply=lambda reply: reply, status=201)

    @router.get("/one", response_model=CountReply, responses=raises(NotAuthenticated, Forbidden))
    async def look_at_one(work: UserReads) -> Response:
        return await work.look(look(counters))

    @router.get("/slow/{name}", responses=raises())
    async def slow(_work: AnybodyReads, name: str) -> dict[str, str]:
        await asyncio.sleep(0.2)
        return {"name": name}

    name = counters.removeprefix("platform.")
    return Service("tiny", "a counter", (router,), {f"{name}_small": CounterFull})
