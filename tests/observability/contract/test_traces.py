"""Traces: one tree from the caller's span to the last statement of the worker; failures and slow ones are kept."""

from collections import defaultdict

import pytest
from tests.observability.contract.gathering import Gathered
from tests.observability.contract.receiver import SeenSpan
from tests.observability.contract.stage import SLOW_SECONDS
from tests.observability.contract.temptations import SAMPLED
from tests.support.openapi import operations

INTERNAL, SERVER, CLIENT, CONSUMER = 1, 2, 3, 5  # values of OTLP
BOOK = "POST /booking/slots/book"
SHORT = "telemed-all"  # samples nothing


def traces_of(gathered: Gathered) -> dict[str, list[SeenSpan]]:
    found = defaultdict(list)
    for span in gathered.spans:
        found[span.trace_id].append(span)
    return found


@pytest.fixture
def booking(gathered: Gathered) -> list[SeenSpan]:
    """The spans of one booking that the worker has told to its subscribers."""
    return next(
        spans
        for spans in traces_of(gathered).values()
        if {BOOK, "process appointment.booked"} <= {span.name for span in spans}
    )


def test_a_booking_is_one_tree(booking: list[SeenSpan]) -> None:
    """Every span but the first hangs below another one of the same trace."""
    ids = {span.span_id for span in booking}
    assert len(ids) == len(booking)
    assert [span.name for span in booking if span.parent_id not in ids] == [BOOK]
    assert {span.service for span in booking} == {"telemed-booking", "telemed-worker"}


def test_a_booking_shows_what_it_did(booking: list[SeenSpan]) -> None:
    """The request, its transaction with the wait, the statements and the COMMIT, and the cache."""
    (request,) = (span for span in booking if span.kind == SERVER)
    assert (request.name, request.service, request.parent_id) == (BOOK, "telemed-booking", "")
    assert request.attributes["http.route"] == "/booking/slots/book"
    assert request.attributes["http.response.status_code"] == 201
    here = [span for span in booking if span.service == "telemed-booking"]
    assert {"transaction", "pool.wait", "COMMIT", "redis"} <= {span.name for span in here}
    (call,) = (span for span in here if span.name == "SELECT booking.book_slot")
    (transaction,) = (span for span in here if span.span_id == call.parent_id)
    assert (transaction.name, transaction.kind, transaction.parent_id) == ("transaction", INTERNAL, request.span_id)
    inside = {span.name: span.kind for span in here if span.parent_id == transaction.span_id}
    for name in ("SELECT booking.book_slot", "COMMIT"):
        assert inside[name] == CLIENT
    assert any(span.name == "SELECT booking.look_at_slots" and span.kind == CLIENT for span in here)


def test_the_worker_continues_the_trace(booking: list[SeenSpan]) -> None:
    """The delivery is below the request that it is about, its statements below the delivery."""
    there = {span.name: span for span in booking if span.service == "telemed-worker"}
    delivery = there["process appointment.booked"]
    (request,) = (span for span in booking if span.kind == SERVER)
    assert (delivery.kind, delivery.parent_id) == (CONSUMER, request.span_id)
    assert delivery.attributes["messaging.operation.type"] == "process"
    transactions = {
        span.span_id for span in booking if span.name == "transaction" and span.parent_id == delivery.span_id
    }
    statements = [span for span in booking if span.parent_id in transactions and "db.query.text" in span.attributes]
    assert statements
    assert all("$1" in span.attributes["db.query.text"] for span in statements), "placeholders, not values"


def test_a_callers_span_is_above_ours(gathered: Gathered) -> None:
    """W3C Trace Context, as any client's tracing sends it."""
    _, trace_id, caller, _ = SAMPLED.split("-")
    (request,) = (span for span in traces_of(gathered)[trace_id] if span.kind == SERVER)
    assert (request.parent_id, request.trace_state) == (caller, "")


def test_requests_are_named_by_their_route(gathered: Gathered) -> None:
    """Never by an address: a name is what backends count by."""
    named = {span.name for span in gathered.spans if span.kind == SERVER}
    known = set(operations()) | {"GET /docs", "GET /openapi.json", "GET", "POST", "HEAD", "PATCH", "HTTP"}
    paths = {operation.path for operation in operations().values()}
    assert set(operations()) <= named
    strangers = {name for name in named - known if name.partition(" ")[2] not in paths}
    assert strangers <= {"GET /docs/assets/{path}", "GET /docs/assets"}, strangers


def test_where_nothing_is_sampled_failures_and_slow_ones_are_kept(gathered: Gathered) -> None:
    """With what they did; what went well is counted and not sent."""
    ours = [span for span in gathered.spans if span.service == SHORT]
    roots = [span for span in ours if span.kind == SERVER]
    failed = [span for span in roots if span.is_error]
    slow = [span for span in roots if span.ends_ns - span.starts_ns >= SLOW_SECONDS * 1e9]
    assert [root for root in roots if root not in failed and root not in slow] == []
    # Some have nothing below them: a process that knows its primary to be gone asks nobody.
    above = {span.parent_id for span in ours}
    for kept in (failed, slow):
        assert [root for root in kept if root.span_id in above], "with what it did"
    decisions = {
        series.labels["decision"]: series for series in gathered.series if series.name == "telemed_traces_total"
    }
    assert {"kept_error", "kept_slow", "passed_over", "sampled"} == decisions.keys()
