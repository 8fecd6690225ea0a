"""The data plane: processes, connections, replicas, cache, outbox, audit trail, and the worker."""

from observability.boards.model import Board, Colour, Kind, Panel, Row, Target, Threshold, Unit

from observability.boards import links, promql, stores, worker


def _of_processes(expression: str) -> tuple[Target, ...]:
    return (Target(promql.of_ours(expression), "{{pod}}"),)


_PROCESSES = (
    Panel(
        "CPU",
        "Cores in use by process.",
        Unit.NUMBER,
        _of_processes(f"rate({promql.series('process_cpu_seconds_total')}[$__rate_interval])"),
        links.runbook("event-loop-blocked"),
        width=6,
    ),
    Panel(
        "Memory",
        "Resident. What grows for days is a leak; the limit of the container ends it.",
        Unit.BYTES,
        _of_processes(promql.series("process_resident_memory_bytes")),
        links.runbook("limit-near"),
        width=6,
    ),
    Panel(
        "Files open",
        "Share of what a process may open; connections are files as well.",
        Unit.RATIO,
        _of_processes(f"{promql.series('process_open_fds')} / ({promql.series('process_max_fds')} > 0)"),
        links.runbook("limit-near"),
        width=6,
        thresholds=(Threshold(0.8, Colour.BAD),),
    ),
    Panel(
        "Event loop blocked",
        "Share of the time in which a process could not begin anything; what every request of it waits on top.",
        Unit.RATIO,
        (
            Target(
                "max by (namespace, pod)"
                f" (rate({promql.series('telemed_event_loop_late_seconds_total')}[$__rate_interval]))",
                "{{pod}}",
            ),
        ),
        links.runbook("event-loop-blocked"),
        width=6,
    ),
)

_TELEMETRY = (
    Panel(
        "Traces",
        "What was decided about each request: sampled, kept for an error or for being slow, or passed over.",
        Unit.EVENTS,
        (Target(promql.rate("telemed_traces_total", by=("decision",)), "{{decision}}"),),
        links.runbook("spans-lost"),
        width=6,
    ),
    Panel(
        "Spans",
        "Dropped: the queue was full. Failed: the collector did not take them. Nobody waits for either.",
        Unit.EVENTS,
        (Target(promql.rate("telemed_trace_spans_total", by=("outcome",)), "{{outcome}}"),),
        links.runbook("spans-lost"),
        width=6,
    ),
    Panel(
        "Event loop, last lag",
        "How late the loop last was, by process.",
        Unit.SECONDS,
        (Target(promql.highest("telemed_event_loop_lag_seconds", by=("pod",)), "{{pod}}"),),
        links.runbook("event-loop-blocked"),
        width=6,
    ),
    Panel(
        "Cache clients built anew",
        "In the time that is shown. With a healthy server it means that our client got stuck.",
        Unit.NUMBER,
        (Target(promql.increase("telemed_cache_rebuilds_total"), "built anew"),),
        links.runbook("breaker-open"),
        kind=Kind.NUMBER,
        width=6,
        decimals=0,
        thresholds=(Threshold(1, Colour.NOTICE),),
    ),
)

BOARD = Board(
    "data",
    "Telemed: data plane",
    "Processes, connections, replicas, cache, outbox, audit trail, worker: in use, waiting, failed.",
    (
        Row("Processes", _PROCESSES),
        Row("Connections to the database", stores.CONNECTIONS),
        Row("Transactions and replicas", stores.TRANSACTIONS),
        Row("Cache and breakers", stores.CACHE),
        Row("Outbox", worker.OUTBOX),
        Row("Audit trail", worker.AUDIT),
        Row("Worker", worker.JOBS),
        Row("Telemetry itself", _TELEMETRY),
    ),
    variables=("namespace",),
)
