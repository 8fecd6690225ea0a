"""Spans in files, one JSON object a line; read by `telemed trace`.

Written down at once: by way of the SDK's objects and its `to_json`, a span takes five times as long. That is another
thread's time, but the interpreter is one, and requests wait for whoever has it.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExportResult

from telemed.kernel.telemetry.noted import AnySpan, NotedSpan, noted

_FILE_BYTES = 8 * 1024 * 1024  # of each of two files; some 4,000 traces in all
_json = json.JSONEncoder(separators=(",", ":")).encode


class FileExporter:
    """Appends the spans of one process to a file of bounded size, which takes turns with another."""

    def __init__(self, directory: Path, resource: Resource) -> None:
        self._directory = directory
        self._name = str(resource.attributes["service.name"])
        self._resource = _json({"attributes": dict(resource.attributes)})

    def export(self, spans: Sequence[AnySpan]) -> SpanExportResult:
        """Append them."""
        self._directory.mkdir(parents=True, exist_ok=True)
        current = self._directory / f"{self._name}.jsonl"
        if current.exists() and current.stat().st_size > _FILE_BYTES:
            current.replace(self._directory / f"{self._name}.older.jsonl")
        with current.open("a", encoding="utf-8") as file:
            file.write("".join(lines_of(spans, self._resource)))
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing is held open."""


def lines_of(spans: Sequence[AnySpan], resource: str) -> Iterator[str]:
    """Write each span as the SDK's `to_json` names its parts; *resource* is the JSON of who made them."""
    for span in spans:
        if isinstance(span, NotedSpan):
            yield _line(span, "[]", resource)
        else:
            events = [{"name": event.name, "attributes": dict(event.attributes or {})} for event in span.events]
            yield _line(noted(span), _json(events), resource)


def _line(span: NotedSpan, events: str, resource: str) -> str:
    parent = "null" if span.parent_id is None else f'"0x{span.parent_id.hex()}"'
    status = "UNSET" if span.error is None else "ERROR"
    return (
        f'{{"name":{_json(span.name)},'
        f'"context":{{"trace_id":"0x{span.trace_id.hex()}","span_id":"0x{span.span_id.hex()}"}},'
        f'"kind":"SpanKind.{span.kind.name}","parent_id":{parent},'
        f'"start_time":"{_instant(span.started_ns)}","end_time":"{_instant(span.ended_ns)}",'
        f'"status":{{"status_code":"{status}"}},"attributes":{_json(dict(span.attributes))},'
        f'"events":{events},"resource":{resource}}}\n'
    )


def _instant(ns: int) -> str:
    seconds, rest = divmod(ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"
