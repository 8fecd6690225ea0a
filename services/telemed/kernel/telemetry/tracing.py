"""Which traces are kept, and how their notes become OpenTelemetry's spans.

A trace is sampled if its caller says so, or by chance. What fails or is slow is kept all the same, with everything that
was noted of it. FastAPI's instrumentation surrounds sampled requests only: it costs more than a request itself, also
when nothing is sampled (docs/decisions/0025-tracing.md).
"""

import copy
import os
import random
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from fastapi import FastAPI
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Span
from starlette.types import ASGIApp, Scope

from telemed.kernel.settings import Settings
from telemed.kernel.telemetry.answered import Answered
from telemed.kernel.telemetry.budget import Budget
from telemed.kernel.telemetry.build import version
from telemed.kernel.telemetry.context import Trace, current_trace
from telemed.kernel.telemetry.export import BoundedProcessor, exporters_of
from telemed.kernel.telemetry.metrics import Metrics
from telemed.kernel.telemetry.rendering import Done, spans_of
from telemed.kernel.telemetry.spans import Attributes, Kind, Sketch, look_at, look_away

Decision = Literal["sampled", "kept_error", "kept_slow", "passed_over"]
# What clients may have traced by their word alone, a second; more are judged as if nobody had asked.
_WISHES_PER_SECOND = 50
# What is kept because it failed or was slow, a second: in an outage everything does, and a few show all there is.
_KEPT_PER_SECOND = 20
# Which words of OpenTelemetry for HTTP; without it the instrumentation still speaks those of before 2023.
_CONVENTIONS = ("OTEL_SEMCONV_STABILITY_OPT_IN", "http")


class _Ids(RandomIdGenerator):
    """Gives the instrumentation's span the ids that the edge has told already: to logs, audit records and events."""

    def generate_trace_id(self) -> int:
        ids = _next_ids.get()
        return int(ids[0], 16) if ids is not None else super().generate_trace_id()

    def generate_span_id(self) -> int:
        ids = _next_ids.get()
        if ids is None:
            return super().generate_span_id()
        _next_ids.set(None)
        return int(ids[1], 16)


_next_ids: ContextVar[tuple[str, str] | None] = ContextVar("telemed_next_ids", default=None)


class Tracing:
    """The traces of one process. Off, and next to free, where there is nowhere to send them."""

    def __init__(self, settings: Settings, metrics: Metrics, *, service: str) -> None:
        resource = Resource.create(
            {"service.name": f"telemed-{service}", "service.namespace": "telemed", "service.version": version()}
        )
        self._processor = BoundedProcessor(exporters_of(settings, metrics, resource), metrics)
        self._provider = TracerProvider(resource=resource, id_generator=_Ids(), shutdown_on_exit=False)
        self._provider.add_span_processor(self._processor)
        self.is_on = self._processor.is_on  # whether spans go anywhere; asked for every request
        self._ratio = settings.trace_sample_ratio
        self._slow_ns = int(settings.trace_slow_seconds * 1e9)
        self._wishes = Budget(_WISHES_PER_SECOND)
        self._kept = Budget(_KEPT_PER_SECOND)
        self._counts = {
            decision: metrics.traces.labels(decision)
            for decision in ("sampled", "kept_error", "kept_slow", "passed_over")
        }

    def decide(self, caller: bool | None) -> bool:  # noqa: FBT001 - what `begin_trace` calls
        """Say whether a trace is sampled; where nothing is exported, the caller's word is passed on."""
        if not self.is_on:
            return bool(caller)
        if caller is None:
            return random.random() < self._ratio  # noqa: S311 - not a secret
        return caller and self._wishes.take()

    def sketch(self) -> Sketch | None:
        """Begin to take notes, if they may be wanted."""
        return Sketch() if self.is_on else None

    def finish(self, sketch: Sketch | None, trace: Trace, done: Done) -> bool:
        """Decide on a unit of work that has ended; says whether its trace is kept."""
        if sketch is None:
            return False
        sketch.is_closed = True
        ended_ns = time.monotonic_ns()
        decision = self._decision(trace, done, ended_ns - sketch.started_ns)
        self._counts[decision].inc()
        if decision == "passed_over":
            return False
        wall_ns = time.time_ns() - ended_ns  # notes are measured, and clocks that measure have no date
        for made in spans_of(sketch, trace, done, ended_ns=ended_ns, wall_ns=wall_ns):
            self._processor.on_end(made)
        return True

    def keep(self, answered: Answered) -> bool:
        """Keep the trace of a sampled request of which nothing was noted but its end; says whether it is kept."""
        if self.is_on:
            self._counts["sampled"].inc()
            self._processor.on_end(answered)
        return self.is_on

    @contextmanager
    def unit(self, trace: Trace, name: str, kind: Kind, attributes: Attributes) -> Iterator[Done]:
        """Look at what is done in the context as one unit of work; an exception makes it a failure."""
        sketch = self.sketch()
        token = look_at(sketch)
        done = Done(name, kind, attributes)
        try:
            yield done
        except BaseException as failure:
            done.error = type(failure).__name__
            raise
        finally:
            look_away(token)
            self.finish(sketch, trace, done)

    @contextmanager
    def shared(self, units: Iterable[tuple[Trace, Done]]) -> Iterator[None]:
        """Look at what is done in the context for several units of work at once: it stands in the trace of each.

        After an exception it stands in none, as each is to be done again on its own. *units* is asked at the end, if
        anybody wants to know.
        """
        sketch = self.sketch()
        token = look_at(sketch)
        try:
            yield
        finally:
            look_away(token)
        if sketch is not None:
            for trace, done in units:
                self.finish(sketch, trace, done)

    def instrumented(self, app: FastAPI) -> ASGIApp:
        """Give a twin of the application for sampled requests: the same routes behind FastAPI's instrumentation."""
        if not self.is_on:
            return app
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
        from opentelemetry.metrics import NoOpMeterProvider

        os.environ.setdefault(*_CONVENTIONS)
        twin = copy.copy(app)
        twin.user_middleware = list(app.user_middleware)
        FastAPIInstrumentor.instrument_app(
            twin,
            tracer_provider=self._provider,
            meter_provider=NoOpMeterProvider(),
            server_request_hook=_describe_server,
            exclude_spans=["receive", "send"],  # one for each message would be a quarter of the whole cost
        )
        return twin

    @contextmanager
    def root_of(self, trace: Trace) -> Iterator[None]:
        """Let the instrumentation's next span be the one that *trace* speaks of."""
        token = _next_ids.set((trace.trace_id, trace.span_id))
        try:
            yield
        finally:
            _next_ids.reset(token)

    async def close(self) -> None:
        """Send what waits, for a moment at most: a collector that is gone must not hold up the end of the process."""
        await self._processor.close()

    def _decision(self, trace: Trace, done: Done, took_ns: int) -> Decision:
        if trace.sampled:
            return "sampled"
        if done.error is not None and self._kept.take():
            return "kept_error"
        if took_ns >= self._slow_ns and self._kept.take():
            return "kept_slow"
        return "passed_over"


def _describe_server(current: Span, scope: Scope) -> None:
    """Say what the instrumentation does not know, or says wrongly: it puts the port into the address."""
    trace = current_trace.get()
    if trace is not None:
        current.set_attribute("telemed.request_id", trace.request_id)
    server = scope.get("server")
    if server is not None:
        current.set_attribute("server.address", server[0])
