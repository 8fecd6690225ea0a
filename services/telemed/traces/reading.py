"""Reads the files of spans that `kernel/telemetry/export.py` writes."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SpanLine:
    """One span, as a line of a file has it. *started_at* and *seconds* are of the calendar's clock."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    service: str
    started_at: datetime
    seconds: float
    failed: bool
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def is_job(self) -> bool:
        """Tell whether it is a run of the worker's own jobs."""
        return self.name.startswith("job ")


@dataclass(frozen=True)
class Spans:
    """Everything that could be read, and how many lines could not."""

    all: tuple[SpanLine, ...]
    broken: int


def read_spans(directory: Path) -> Spans:
    """Read every file of the folder; a line that is half written, or none of ours, is counted and left out."""
    found, broken = [], 0
    for file in sorted(directory.glob("*.jsonl")):
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:  # its turn ended just now, or it is none of ours
            broken += 1
            continue
        for line in text.splitlines():
            span = parsed(line)
            if span is None:
                broken += 1
            else:
                found.append(span)
    return Spans(tuple(found), broken)


def parsed(line: str) -> SpanLine | None:
    """Read one line; None if it is no span."""
    try:
        given = json.loads(line)
        started_at, ended_at = _instant(given["start_time"]), _instant(given["end_time"])
        return SpanLine(
            trace_id=given["context"]["trace_id"].removeprefix("0x"),
            span_id=given["context"]["span_id"].removeprefix("0x"),
            parent_id=(given["parent_id"] or "").removeprefix("0x") or None,
            name=_printable(given["name"]),
            service=_printable(given["resource"]["attributes"].get("service.name", "?")).removeprefix("telemed-"),
            started_at=started_at,
            seconds=max(0.0, (ended_at - started_at).total_seconds()),
            failed=given["status"]["status_code"] == "ERROR",
            attributes=dict(given["attributes"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # the last: a million brackets
        return None


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without a zone cannot be compared with the others")
    return at


def _printable(text: object) -> str:
    # A name ends on somebody's terminal, where escape sequences are orders.
    return "".join(sign if sign.isprintable() else "?" for sign in str(text))


def by_trace(spans: Iterable[SpanLine]) -> dict[str, list[SpanLine]]:
    """Group them; a trace's spans in the order in which they began."""
    traces: dict[str, list[SpanLine]] = {}
    for span in spans:
        traces.setdefault(span.trace_id, []).append(span)
    for one in traces.values():
        one.sort(key=lambda span: span.started_at)
    return traces
