"""Logs: JSON with ids, and never what was worked on."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

SCRIPT = """
import asyncio, logging
from telemed.kernel.telemetry.context import begin_trace, current_trace
from telemed.kernel.telemetry.logs import configure_logs, get_logger, log_lost_errors

configure_logs(level="INFO", service="test")
log = get_logger("script")
current_trace.set(begin_trace(traceparent=None, request_id="abc"))

def diagnose(note):
    local = note.upper()
    raise ValueError(f"cannot parse {local}")

try:
    diagnose("the patient's secret")
except ValueError:
    log.exception("note.failed", number=7)
    logging.getLogger("library").exception("library failed")

async def lose():
    log_lost_errors(asyncio.get_running_loop())
    task = asyncio.ensure_future(fail())
    await asyncio.sleep(0)
    del task
    import gc; gc.collect()
    await asyncio.sleep(0)

async def fail():
    diagnose("the patient's secret")

asyncio.run(lose())
"""


@pytest.fixture(scope="module")
def lines() -> list[dict[str, object]]:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_line_is_json_with_its_ids(lines: list[dict[str, object]]) -> None:
    """Ours and those of libraries alike."""
    assert [line["event"] for line in lines] == ["note.failed", "library failed", "task.failed"]
    for line in lines:
        assert line["service"] == "test"
        assert line["request_id"] == "abc"
        assert len(str(line["trace_id"])) == 32
        assert {"level", "logger", "timestamp"} <= set(line)


def test_a_traceback_holds_frames_and_types_only(lines: list[dict[str, object]]) -> None:
    """No local variable, no message, also not of a task that nobody awaited."""
    for line in lines:
        assert "ValueError" in str(line["exception"])
        assert "in diagnose" in str(line["exception"])
    assert "secret" not in json.dumps(lines).lower().replace("the patient's secret\\\")\\n", "")


LINES = """
import asyncio, time
from telemed.kernel.telemetry.context import begin_trace
from telemed.kernel.telemetry.logs import configure_logs, get_logger, log_request

configure_logs(level="INFO", service="test")

def answered(status):
    trace = begin_trace(traceparent=None, request_id="abc")
    log_request(("request.answered", trace, "GET", "/a", status, "http", 0.0123, time.time()))

async def main():
    answered("200")
    await asyncio.sleep(0)
    print("a turn later", flush=True)
    await asyncio.sleep(1)
    print("a second later", flush=True)
    answered("201")
    get_logger("x").warning("other.happened")
    await asyncio.sleep(0)
    print("a turn after the warning", flush=True)
    answered("202")

asyncio.run(main())
print("the end", flush=True)
"""


def test_lines_of_requests_are_written_together_but_soon_and_in_order() -> None:
    """They wait for others for a moment, for nobody when something else is logged, and are there when it ends."""
    done = subprocess.run([sys.executable, "-c", LINES], capture_output=True, text=True, check=True, timeout=60)
    said = [json.loads(line).get("status", "other") if line[0] == "{" else line for line in done.stdout.splitlines()]
    assert said == [
        "a turn later",
        "200",
        "a second later",
        "201",
        "other",
        "a turn after the warning",
        "the end",
        "202",
    ]


def test_the_line_of_a_request_has_what_every_line_has() -> None:
    """As if structlog had written it."""
    done = subprocess.run([sys.executable, "-c", LINES], capture_output=True, text=True, check=True, timeout=60)
    line = next(json.loads(line) for line in done.stdout.splitlines() if '"200"' in line)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(line.pop("timestamp"))) < timedelta(minutes=1)
    assert len(line.pop("trace_id")) == 32
    assert len(line.pop("span_id")) == 16
    assert line == {
        "method": "GET",
        "route": "/a",
        "status": "200",
        "ms": 12.3,
        "event": "request.answered",
        "level": "info",
        "logger": "http",
        "request_id": "abc",
        "service": "test",
    }


NUMBERS = """
import asyncio
from telemed.kernel.telemetry.context import begin_trace
from telemed.kernel.telemetry.logs import configure_logs, log_request

configure_logs(level="INFO", service="test")

async def main():
    trace = begin_trace(traceparent=None, request_id=None)
    for seconds, ended in SENT:
        log_request(("request.answered", trace, "GET", "/a", "200", "http", seconds, ended))

asyncio.run(main())
"""


def test_a_line_says_when_a_request_ended_and_how_long_it_took() -> None:
    """With every digit in its place: of fast and slow ones, at the beginning and at the end of a second."""
    sent = [(0.0, 1e9), (0.00004, 1e9 + 0.000_001_5), (0.0123, 1e9 + 0.020_300_5), (0.249_96, 1e9 + 0.999_999_5),
            (0.25, 1e9 + 1), (12.345_67, 1e9 + 86_400.5)]  # fmt: skip
    script = NUMBERS.replace("SENT", repr(sent))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["ms"] for line in lines] == [0.0, 0.0, 12.3, 250.0, 250.0, 12345.7]
    assert [line["timestamp"] for line in lines] == [
        "2001-09-09T01:46:40.000000Z",
        "2001-09-09T01:46:40.000001Z",
        "2001-09-09T01:46:40.020300Z",
        "2001-09-09T01:46:40.999999Z",
        "2001-09-09T01:46:41.000000Z",
        "2001-09-10T01:46:40.500000Z",
    ]
