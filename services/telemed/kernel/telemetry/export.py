"""Where spans go: to a collector, into a file, or nowhere. Never with more than what is on the list.

Exporting happens on a thread of its own with a bounded queue. A collector that is gone costs spans, not requests.
"""

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from typing import Protocol, TypeVar, overload

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, Status

from telemed.kernel.settings import Settings
from telemed.kernel.telemetry.answered import Answered
from telemed.kernel.telemetry.files import FileExporter
from telemed.kernel.telemetry.logs import get_logger
from telemed.kernel.telemetry.metrics import Metrics
from telemed.kernel.telemetry.noted import AnySpan, NotedSpan
from telemed.kernel.telemetry.rendering import span_of

log = get_logger("traces")

# What may leave the process with a span. Everything else goes: addresses hold ids and whatever a client typed, user
# agents and IP addresses point at people, texts of exceptions quote rows.
ALLOWED_ATTRIBUTES = frozenset(
    {
        "db.collection.name",
        "db.operation.name",
        "db.query.summary",
        "db.query.text",  # with placeholders
        "db.system.name",
        "error.type",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "messaging.batch.message_count",
        "messaging.destination.name",
        "messaging.message.id",
        "messaging.operation.name",
        "messaging.operation.type",
        "messaging.system",
        "network.protocol.version",
        "server.address",
        "server.port",
        "telemed.attempt",
        "telemed.job",
        "telemed.problem",
        "telemed.request_id",
        "telemed.spans.left_out",
        "url.scheme",
    }
)
_ALLOWED_OF_EVENTS = frozenset({"exception.type"})
QUEUE = 4096  # spans that wait; some 400 traces
_BATCH = 512
_EVERY_MILLISECONDS = 1000
_EXPORT_WITHIN_SECONDS = 5.0
_END_WITHIN_SECONDS = 2.0


V = TypeVar("V")
# What waits: of requests whose span is the whole trace, what it will be made of.
Waiting = AnySpan | Answered


class Destination(Protocol):
    """Where spans of both kinds can be sent."""

    def export(self, spans: Sequence[AnySpan]) -> SpanExportResult:
        """Send them."""
        ...

    def shutdown(self) -> None:
        """Let go of it."""
        ...


def exporters_of(settings: Settings, metrics: Metrics, resource: Resource) -> "list[WatchedExporter]":
    """Give what the settings ask for; none if they name nowhere to send spans."""
    exporters: list[Destination] = []
    if settings.otel_exporter_otlp_endpoint is not None:
        from telemed.kernel.telemetry.otlp import CollectorExporter

        # Its own words come again with every batch, and name the collector's answer; ours come once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        address = f"{settings.otel_exporter_otlp_endpoint.rstrip('/')}/v1/traces"
        exporters.append(CollectorExporter(resource, address, within_seconds=_EXPORT_WITHIN_SECONDS))
    if settings.trace_directory is not None:
        exporters.append(FileExporter(settings.trace_directory, resource))
    return [WatchedExporter(exporter, metrics) for exporter in exporters]


class WatchedExporter(SpanExporter):
    """Takes away what must not leave, counts what left, and says once when a destination is lost or back."""

    def __init__(self, inner: Destination, metrics: Metrics) -> None:
        self._inner = inner
        self._metrics = metrics
        self._is_lost = False

    def export(self, spans: Sequence[Waiting]) -> SpanExportResult:
        """Send them; whatever goes wrong is counted and goes no further."""
        try:
            result = self._inner.export([redacted(_made(span)) for span in spans])
        except Exception as error:  # noqa: BLE001 - on a thread of telemetry, where nobody else would hear of it
            result = SpanExportResult.FAILURE
            self._note(is_lost=True, error=type(error).__name__)
        else:
            self._note(is_lost=result is not SpanExportResult.SUCCESS, error="refused or not answered")
        outcome = "exported" if result is SpanExportResult.SUCCESS else "failed"
        self._metrics.spans.labels(outcome).inc(len(spans))
        return result

    def shutdown(self) -> None:
        """Let go of the destination."""
        self._inner.shutdown()

    def _note(self, *, is_lost: bool, error: str) -> None:
        if is_lost and not self._is_lost:
            log.warning("traces.lost", destination=type(self._inner).__name__, error=error)
        elif self._is_lost and not is_lost:
            log.info("traces.recovered", destination=type(self._inner).__name__)
        self._is_lost = is_lost


class BoundedProcessor(SpanProcessor):
    """Hands spans to the exporters' threads, and drops what comes while too many wait."""

    def __init__(self, destinations: Sequence[Destination], metrics: Metrics) -> None:
        self._dropped = metrics.spans.labels("dropped")
        self._batches = [
            _Batches(
                destination,  # type: ignore[arg-type]  # the SDK's word for it knows spans of its own only
                max_queue_size=QUEUE,
                schedule_delay_millis=_EVERY_MILLISECONDS,
                max_export_batch_size=_BATCH,
            )
            for destination in destinations
        ]

    @property
    def is_on(self) -> bool:
        """Tell whether there is anybody to hand spans to."""
        return bool(self._batches)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: a span is handed on when it has ended."""

    def on_end(self, span: Waiting) -> None:
        """Queue the span."""
        for batches in self._batches:
            if batches.is_full:
                self._dropped.inc()
            else:
                batches.put(span)

    def shutdown(self) -> None:
        """End the threads."""
        for batches in self._batches:
            batches.shutdown()  # type: ignore[no-untyped-call]  # the SDK has no types here

    async def close(self) -> None:
        """Send what waits, for at most _END_WITHIN_SECONDS."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()

        def end() -> None:
            self.shutdown()
            with suppress(RuntimeError):  # the loop is gone: nobody waits any more
                loop.call_soon_threadsafe(ended.set)

        # A daemon's thread, because the interpreter waits for every other one before it ends.
        threading.Thread(target=end, name="traces-end", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_WITHIN_SECONDS):
                await ended.wait()


class _Batches(BatchSpanProcessor):
    @property
    def is_full(self) -> bool:
        # The SDK drops the oldest without a word that a program could count.
        return len(self._batch_processor._queue) >= QUEUE  # noqa: SLF001 - no public way to ask

    def put(self, span: Waiting) -> None:
        # Past `on_end`, which knows spans of the SDK only.
        self._batch_processor.emit(span)  # type: ignore[arg-type]  # it passes on whatever it is given


def _made(waiting: Waiting) -> AnySpan:
    return waiting if isinstance(waiting, NotedSpan | ReadableSpan) else span_of(waiting)


@overload
def redacted(span: NotedSpan) -> NotedSpan: ...
@overload
def redacted(span: ReadableSpan) -> ReadableSpan: ...
def redacted(span: AnySpan) -> AnySpan:
    """Give the span without what is not on the list; of an exception its type stays, and not what it says."""
    if isinstance(span, NotedSpan):
        if ALLOWED_ATTRIBUTES.issuperset(span.attributes):
            return span
        return span._replace(attributes=_allowed(span.attributes, ALLOWED_ATTRIBUTES))
    if _is_clean(span):
        return span
    return ReadableSpan(
        name=span.name,
        context=_stateless(span.context),
        parent=_stateless(span.parent),
        resource=span.resource,
        attributes=_allowed(span.attributes or {}, ALLOWED_ATTRIBUTES),
        events=[
            Event(event.name, _allowed(event.attributes or {}, _ALLOWED_OF_EVENTS), event.timestamp)
            for event in span.events
        ],
        links=(),  # we make none, and those of others carry attributes and a `tracestate`
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _allowed(attributes: Mapping[str, V], names: Set[str]) -> dict[str, V]:
    return {key: value for key, value in attributes.items() if key in names}


def _is_clean(span: ReadableSpan) -> bool:
    """Tell whether there is nothing to take away, as in most of our own: a copy would cost as much as to send it."""
    return (
        not span.events
        and not span.links
        and span.status.description is None
        and ALLOWED_ATTRIBUTES.issuperset(span.attributes or ())
        and _stateless(span.context) is span.context
        and _stateless(span.parent) is span.parent
    )


def _stateless(context: SpanContext | None) -> SpanContext | None:
    """Leave the caller's `tracestate` out: it may hold whatever a client typed, and we hand it on to nobody."""
    if context is None or not context.trace_state:
        return context
    return SpanContext(context.trace_id, context.span_id, context.is_remote, context.trace_flags)
