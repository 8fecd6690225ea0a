"""The edge: ids, headers, bounds and the last catch, as every request meets them."""

import asyncio
import json

import httpx
import pytest
from tests.support.events import LoggedEvents
from tests.support.people import People

from telemed.kernel.http import exchange
from telemed.kernel.resources import Resources

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def test_every_reply_carries_a_request_id(api: httpx.AsyncClient, events: LoggedEvents) -> None:
    """The client's own id comes back, and the log has it with the trace that the caller began."""
    headers = {"X-Request-ID": "client-7.A_b", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    reply = await api.get("/tiny/nothing", headers=headers)
    assert reply.headers["X-Request-ID"] == "client-7.A_b"
    assert reply.json()["trace_id"] == TRACE
    (answered,) = events.named("request.answered")
    assert (answered["request_id"], answered["trace_id"]) == ("client-7.A_b", TRACE)


@pytest.mark.parametrize("sent", ["", "two words", "x" * 129, "line\\nbreak;", "<script>", "émile"], ids=repr)
async def test_a_request_id_of_a_wrong_form_is_replaced(api: httpx.AsyncClient, sent: str) -> None:
    """What could forge a log line or a page is not repeated."""
    reply = await api.get("/tiny/nothing", headers={b"X-Request-ID": sent.encode()})
    assert len(reply.headers["X-Request-ID"]) == 24


@pytest.mark.parametrize(
    "traceparent",
    [
        "garbage",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-b7ad6b7169203331-01",
        f"00-{TRACE.upper()}-b7ad6b7169203331-01",
        f"00-{TRACE}-b7ad6b7169203331",
    ],
)
async def test_a_malformed_traceparent_begins_a_new_trace(api: httpx.AsyncClient, traceparent: str) -> None:
    """As W3C Trace Context wants it."""
    trace_id = (await api.get("/tiny/nothing", headers={"traceparent": traceparent})).json()["trace_id"]
    assert len(trace_id) == 32
    assert trace_id != TRACE


async def test_every_reply_carries_the_security_headers(api: httpx.AsyncClient) -> None:
    """Successes, problems and probes alike; nothing of patients is stored on the way."""
    for path in ("/readyz", "/tiny/nothing", "/tiny/slow/x"):
        headers = (await api.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert "max-age" in headers["Strict-Transport-Security"]


async def test_a_failure_says_nothing_of_its_cause(people: People, events: LoggedEvents) -> None:
    """The client gets a problem with a trace id; the log gets frames and types, and no word of the patient's."""
    events.expect("request.failed")
    patient = await people.patient()
    secret = "Nightmares since the divorce"
    reply = await patient.post("/tiny/one", {"by": 1, "note": secret, "end": "bug"})
    assert (reply.status_code, reply.json()["type"]) == (500, "internal-error")
    assert reply.headers["content-type"] == "application/problem+json"
    assert not {"Traceback", "ValueError", "divorce"} & set(reply.text.split())
    (failed,) = events.named("request.failed")
    assert failed["trace_id"] == reply.json()["trace_id"]
    assert "ValueError" in failed["exception"]
    assert secret not in json.dumps(events.all)


async def test_a_constraint_that_nobody_foresaw_leaks_no_row(
    people: People, events: LoggedEvents, counters: str, owner: object
) -> None:
    """PostgreSQL quotes the failing row; neither client nor log may see it, but the constraint's name helps."""
    events.expect("request.failed")
    name = counters.removeprefix("platform.")
    await owner.execute(f"ALTER TABLE {counters} ADD CONSTRAINT {name}_odd CHECK (value <> 771)")  # type: ignore[attr-defined]  # a connection
    patient = await people.patient()
    reply = await patient.post("/tiny/one", {"by": 771})
    assert reply.status_code == 500
    (failed,) = events.named("request.failed")
    assert f"constraint_name={name}_odd" in failed["exception"]
    assert "771" not in failed["exception"].replace(name, "")
    assert "771" not in reply.text.replace(reply.json()["trace_id"], "")


async def test_an_undeclared_problem_is_noticed(people: People, events: LoggedEvents) -> None:
    """The client is answered all the same; the event is what fails tests."""
    events.expect("problem.undeclared")
    patient = await people.patient()
    assert (await patient.post("/tiny/one", {"by": 1, "end": "undeclared"})).status_code == 418
    assert events.offences == []
    assert events.named("problem.undeclared")


async def test_unknown_addresses_and_methods_are_problems(api: httpx.AsyncClient) -> None:
    """404 and 405 look like every other problem; 405 says what is allowed."""
    missing, wrong = await api.get("/tiny/%00%ff/../x"), await api.delete("/tiny/one")
    assert (missing.status_code, missing.json()["type"]) == (404, "not-found")
    assert (wrong.status_code, wrong.json()["type"]) == (405, "method-not-allowed")
    assert wrong.headers["Allow"]


async def test_metrics_do_not_grow_with_what_clients_invent(api: httpx.AsyncClient, resources: Resources) -> None:
    """Labels are route templates and known methods, whatever addresses and methods are tried."""

    def series() -> set[tuple[str, str]]:
        return {
            (sample.labels["method"], sample.labels["route"])
            for metric in resources.metrics.requests.collect()
            for sample in metric.samples
        }

    known = series()  # one for each route, at zero
    for number in range(50):
        await api.get(f"/tiny/nowhere-{number}")
        await api.get(f"/docs/assets/nowhere-{number}")
        await api.get(f"/tiny/slow/{number}") if number < 3 else None
        await api.request(f"MADEUP{number}", "/tiny/one")
    labels = series()
    assert ("GET", "/tiny/slow/{name}") in labels
    assert ("other", "/tiny/one") in labels or ("other", "unmatched") in labels
    grown = {("GET", "unmatched"), ("GET", "/docs/assets/{path}"), ("other", "/tiny/one"), ("other", "unmatched")}
    assert labels - known <= grown


async def test_an_announced_body_that_is_too_large_is_refused_unread(people: People) -> None:
    """The client is told the limit before it has sent anything to speak of."""
    patient = await people.patient()
    reply = await patient.post("/tiny/one", {"by": 1, "note": "x" * 300_000})
    assert (reply.status_code, reply.json()["type"]) == (413, "payload-too-large")


async def test_a_chunked_body_that_is_too_large_is_refused(people: People) -> None:
    """Not saying how much is coming does not help."""
    patient = await people.patient()

    async def chunks() -> object:
        for _ in range(40):
            yield b"x" * 10_000

    reply = await patient.client.post(
        "/tiny/one",
        content=chunks(),  # type: ignore[arg-type]  # an async generator of bytes
        headers={"Authorization": f"Bearer {patient.token}", "Content-Type": "application/json"},
    )
    assert (reply.status_code, reply.json()["type"]) == (413, "payload-too-large")


async def test_a_body_that_drips_is_refused(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is on the whole body: a client that keeps sending a byte now and then is slow all the same."""
    monkeypatch.setattr(exchange, "BODY_TIMEOUT_SECONDS", 0.3)
    patient = await people.patient()

    async def drips() -> object:
        for _ in range(30):
            await asyncio.sleep(0.1)
            yield b" "
        yield b'{"by": 1}'

    reply = await patient.client.post(
        "/tiny/one",
        content=drips(),  # type: ignore[arg-type]  # an async generator of bytes
        headers={"Authorization": f"Bearer {patient.token}", "Content-Type": "application/json"},
    )
    assert (reply.status_code, reply.json()["type"]) == (408, "request-timeout")


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b'"x"', b"{", b"\xff", b'{"by": 1, "by": 2}', b'{"by": NaN}', b'{"by": 1e999}', b"[" * 9999],
    ids=repr,
)
async def test_a_body_that_is_no_request_is_a_problem(people: People, body: bytes) -> None:
    """422 with what is wrong and where, and without an echo of what was sent."""
    patient = await people.patient()
    reply = await patient.request("POST", "/tiny/one", content=body)
    assert (reply.status_code, reply.json()["type"]) == (422, "invalid-request")
    assert reply.json()["errors"]


async def test_mistakes_are_named_without_an_echo(people: People) -> None:
    """A field that is wrong is named; its content may be a password."""
    patient = await people.patient()
    reply = await patient.post("/tiny/one", {"by": "hunter2-hunter2", "surplus\udc80"[:7]: "hunter2-hunter2"})
    assert [error["loc"] for error in reply.json()["errors"]] == [["body", "by"], ["body", "surplus"]]
    assert "hunter2" not in reply.text


async def test_a_thousand_mistakes_are_answered_in_brief(people: People) -> None:
    """A reply is not much larger than the request that provoked it."""
    patient = await people.patient()
    reply = await patient.post("/tiny/one", {f"field{number}": number for number in range(1000)})
    assert len(reply.json()["errors"]) == 20


async def test_readiness_says_draining_and_stuck(api: httpx.AsyncClient, resources: Resources) -> None:
    """A process that should get no traffic says why; its liveness is another matter."""
    resources.health.is_draining = True
    resources.health._last_beat -= 60
    reply = await api.get("/readyz")
    assert (reply.status_code, reply.json()["reasons"]) == (503, ["draining", "event loop stuck"])
    assert (await api.get("/livez")).status_code == 200


async def test_the_documentation_needs_no_other_host(api: httpx.AsyncClient) -> None:
    """Swagger UI and all its assets come from here."""
    page = (await api.get("/docs")).text
    assert "https://" not in page.replace("https://telemed", "")
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
        assert (await api.get(f"/docs/assets/{asset}")).status_code == 200
    assert (await api.get("/openapi.json")).json()["paths"]
