"""Logs: JSON with ids, and never what was worked on."""

import json
import subprocess
import sys

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
