"""Structured logs: one JSON object a line on stdout, with the ids of the request. Never patient data."""

import logging
import sys
from typing import Any

import structlog

from telemed.kernel.telemetry.context import current_trace


def _add_trace(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    trace = current_trace.get()
    if trace is not None:
        event.update(request_id=trace.request_id, trace_id=trace.trace_id, span_id=trace.span_id)
    return event


def configure_logs(*, level: str, service: str) -> None:
    """Send our own events and those of libraries to stdout in one format.

    Tracebacks keep file, line and exception type of every frame, but no local variables: those hold patient data.
    """

    def add_service(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service
        return event

    shared: list[Any] = [  # structlog's processors have no common type
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
        add_service,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # The access log is our own event; uvicorn's costs more than the request (docs/architecture.md).
    logging.getLogger("uvicorn.access").disabled = True


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Give a logger whose events are named ``noun.verb_past`` and carry fields."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
