"""Logs: one JSON object a line, and by its ids a line is found from a reply, and a trace from a line."""

import json
import re

import pytest
from tests.observability.contract.gathering import Gathered
from tests.observability.contract.stage import PROCESSES

EVERY_LINE = {"timestamp", "level", "logger", "event", "service"}
IDS = {"request_id": r"[A-Za-z0-9._-]{1,128}", "trace_id": r"[0-9a-f]{32}", "span_id": r"[0-9a-f]{16}"}
# Of what is done for a request or an event; others speak for the process.
WITHIN_WORK = {"http", "problems", "outbox"}
NAMES = {"short": "all"}


@pytest.mark.parametrize("process", PROCESSES)
def test_every_line_is_an_event(gathered: Gathered, process: str) -> None:
    """Also what libraries and the interpreter say, on either of the two streams."""
    lines = gathered.lines(process)
    assert len(lines) > 10
    for line in lines:
        assert line.keys() >= EVERY_LINE, line
        assert line["service"] == NAMES.get(process, process)
        assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("process", PROCESSES)
def test_a_line_within_work_has_its_ids(gathered: Gathered, process: str) -> None:
    """Request, trace and span."""
    within = [line for line in gathered.lines(process) if line["logger"] in WITHIN_WORK]
    assert within
    for line in within:
        for name, form in IDS.items():
            assert re.fullmatch(form, line.get(name, "")), line


def test_what_a_failing_reply_names_is_found(gathered: Gathered) -> None:
    """Its trace id is in the log and, as everything here was sampled or failed, among the spans.

    Without refusals for want of room (503): they come in thousands, and are counted only.
    """
    ids = {json.loads(answer.body)["trace_id"] for answer in gathered.answers if answer.is_failure and answer.body}
    refused = {json.loads(answer.body)["trace_id"] for answer in gathered.answers if answer.status == 503}
    logged = {line.get("trace_id") for process in PROCESSES for line in gathered.lines(process)}
    assert len(ids - refused) > 50
    assert ids - refused <= logged
    assert ids - refused <= {span.trace_id for span in gathered.spans}
    assert refused & logged, "who waited for a connection in vain got past the door"
