"""Spans in files: what the processes write is what `telemed trace` reads."""

from datetime import timedelta
from pathlib import Path

from tests.support.clinic import Clinic
from tests.support.commands import Finished, telemed
from tests.support.people import People
from tests.support.platform import Platform
from tests.support.waiting import until

from telemed.kernel.clock import SystemClock
from telemed.kernel.settings import Settings

_REQUEST = "01234567-89ab-4cde-8f01-23456789abcd"


async def test_a_booking_is_drawn_from_the_request_to_the_worker(
    platform_processes: Platform, live_people: People, settings: Settings, tmp_path: Path
) -> None:
    """Whoever has the id of a request sees its transaction, the COMMIT, and the worker's delivery below it."""
    folder = tmp_path / "traces"
    await platform_processes.serve("all", TRACE_DIRECTORY=str(folder), TRACE_SAMPLE_RATIO="1")
    await platform_processes.work(TRACE_DIRECTORY=str(folder), TRACE_SAMPLE_RATIO="1")
    clinic = Clinic(live_people, SystemClock().now() + timedelta(days=1))
    (slot,) = await clinic.slots(await clinic.doctor())
    patient = await live_people.patient()
    reply = await patient.post("/booking/slots/book", {"slot_id": slot["id"]}, headers={"X-Request-ID": _REQUEST})
    assert reply.status_code == 201, reply.text

    async def shown(*arguments: str) -> Finished:
        return await telemed(settings, "trace", *arguments, "--directory", str(folder))

    async def is_complete() -> bool:
        drawn = (await shown(_REQUEST)).output
        return "process appointment.booked" in drawn and "POST /booking/slots/book" in drawn

    await until(is_complete, within_seconds=60)
    drawn = (await shown(_REQUEST)).output
    trace_id = drawn.split()[1]
    by_trace_id = await shown(trace_id)
    assert (by_trace_id.code, by_trace_id.output.split()[1]) == (0, trace_id)
    depths = {line.split("|")[0].strip(): len(line) - len(line.lstrip()) for line in drawn.splitlines() if "|" in line}
    wanted = ("POST /booking/slots/book", "transaction", "COMMIT", "process appointment.booked")
    assert [name for name in wanted if name not in depths] == []
    assert depths["POST /booking/slots/book"] < depths["transaction"] < depths["COMMIT"]
    assert depths["POST /booking/slots/book"] < depths["process appointment.booked"]
    assert trace_id in (await shown("--route", "slots/book")).output
