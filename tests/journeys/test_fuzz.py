"""Input generated from the OpenAPI document, right and wrong, as everybody: what the document says is what happens.

The same examples in every run: a find is a failure of the change that made it, not of the day.
"""

import asyncio
import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.support.clinic import Clinic
from tests.support.openapi import document, operations
from tests.support.people import Caller, People
from tests.support.platform import Platform
from tests.support.scenes import PRESCRIBE, example_of

from telemed.kernel.http.deadlines import HEADER

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
# Of each operation, right and wrong ones each. A few find what is plainly broken in half a minute; thousands, given by
# hand, look for the rest.
EXAMPLES = int(os.environ.get("TELEMED_FUZZ_EXAMPLES", "5"))
ANSWERS_WITHIN_SECONDS = 10.0
# Ends the caller's session, so after it there is nothing left to be seen.
LAST = "POST /auth/logout"


@dataclass(frozen=True)
class Ward:
    """What there is to be met by chance: callers, and ids that stand for something."""

    url: str
    callers: list[Caller]
    ids: dict[str, list[str]]  # by the name of the parameter or the field


@pytest.fixture
async def ward(platform_processes: Platform, live_people: People, live_clinic: Clinic) -> Ward:
    """A platform with a visit in progress, a booked one, and open slots."""
    (process,) = await platform_processes.serve("all")
    doctor, patient = await live_clinic.doctor(), await live_people.patient()
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=5)
    slots = await live_clinic.slots(doctor, 8, starts_at=soon)
    visits = []
    for slot in slots[:2]:
        reply = await patient.post("/booking/slots/book", {"slot_id": slot["id"]})
        assert reply.status_code == 201, reply.text
        visits.append(reply.json()["id"])
    assert (await doctor.post(f"/consultation/{visits[0]}/start")).status_code == 200
    issued = await doctor.post(f"/consultation/{visits[0]}/prescription", example_of(PRESCRIBE))
    assert issued.status_code == 201, issued.text
    return Ward(
        url=process.url,
        callers=[live_people.nobody, patient, doctor, await live_people.admin()],
        ids={
            "id": visits,
            "appointment_id": visits,
            "slot_id": [slot["id"] for slot in slots],
            "doctor_id": [doctor.id],
        },
    )


@pytest.mark.parametrize("prefix", sorted({operation.path.split("/")[1] for operation in operations().values()}))
async def test_what_the_document_says_is_what_happens(prefix: str, ward: Ward) -> None:
    """Only declared answers in their declared form, no 5xx, no wrong input let through; to everybody."""
    names = [operation.name for operation in operations().values() if operation.path.split("/")[1] == prefix]
    await asyncio.to_thread(fuzz, ward, sorted(names, key=lambda name: (name == LAST, name)))


def fuzz(ward: Ward, names: Sequence[str]) -> None:
    """Send each operation what the document allows, then what it does not."""
    schema = schemathesis.openapi.from_dict(without_deadline(document()))
    with requests.Session() as session:
        for name in names:
            operation = operations()[name]
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                if mode is GenerationMode.NEGATIVE and not has_input(operation.spec):
                    continue
                strategy = schema[operation.path][operation.method].as_strategy(generation_mode=mode)
                send_examples(strategy, ward, session, mode)


def without_deadline(described: dict[str, Any]) -> dict[str, Any]:
    """Leave the deadline out: an invented one has passed, and nothing else would be looked at."""
    paths = copy.deepcopy(described["paths"])
    for operation in (operation for item in paths.values() for operation in item.values()):
        operation["parameters"] = [found for found in operation["parameters"] if found["name"] != HEADER]
    return described | {"paths": paths}


def has_input(spec: dict[str, Any]) -> bool:
    """Tell whether anything can be wrong with a request."""
    return "requestBody" in spec or any(found["name"] != HEADER for found in spec.get("parameters", []))


def send_examples(
    strategy: st.SearchStrategy[Case[Any]],
    ward: Ward,
    session: requests.Session,
    mode: GenerationMode,
) -> None:
    """Let hypothesis choose, always in the same way, and let everybody send what it chose."""

    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        # Shrinking would take longer than the run; the first find is readable enough.
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=strategy, data=st.data())
    def example(case: Case[Any], data: st.DataObject) -> None:
        if mode is GenerationMode.POSITIVE:
            meet_something(case, ward, data)
        for caller in ward.callers:
            headers = {"Authorization": f"Bearer {caller.token}"} if caller.token else {}
            response = case.call(ward.url, session=session, headers=headers, timeout=ANSWERS_WITHIN_SECONDS)
            case.validate_response(response, checks=CHECKS)

    example()


def meet_something(case: Case[Any], ward: Ward, data: st.DataObject) -> None:
    """Put ids in place that stand for something, three times out of four: invented ones never do."""
    places = [place for place in (case.path_parameters, case.body, case.query) if isinstance(place, dict)]
    for place in places:
        for name in ward.ids.keys() & place.keys():
            if data.draw(st.integers(0, 3)):
                place[name] = data.draw(st.sampled_from(ward.ids[name]))
