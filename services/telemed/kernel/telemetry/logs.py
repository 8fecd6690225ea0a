"""Structured logs: one JSON object a line on stdout, with the ids of the request. Never patient data."""

import asyncio
import logging
import sys
import traceback
from typing import Any

import structlog

from telemed.kernel.telemetry.context import current_trace


class _Line:
    """Writes the events of one name to stdout, past the standard library, which would cost as much again."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def write(self, line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    debug = info = warning = error = critical = exception = log = msg = write


def _add_trace(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    trace = current_trace.get()
    if trace is not None:
        event["request_id"] = trace.request_id
        event["trace_id"] = trace.trace_id
        event["span_id"] = trace.span_id
    return event


def configure_logs(*, level: str, service: str) -> None:
    """Send our own events and those of libraries to stdout in one format.

    Tracebacks keep file, line and exception type of every frame, but no local variables and few messages
    (`safe_traceback`): those hold patient data.
    """

    def add_service(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service
        return event

    shared: list[Any] = [  # structlog's processors have no common type
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
        add_service,
        structlog.processors.ExceptionRenderer(safe_traceback),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Line,
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


# Exceptions of the language itself, whose messages speak of code and not of what was worked on.
_SPOKEN = (AttributeError, ImportError, NameError, NotImplementedError, OSError, RuntimeError, TypeError)


def safe_traceback(exc_info: tuple[type[BaseException], BaseException, Any] | BaseException | None) -> str:
    """Render the chain of exceptions without what they say: PostgreSQL quotes whole rows, pydantic the input.

    What is kept of a database's error is its SQLSTATE and the constraint's name.
    """
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    parts: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        frames = "".join(traceback.format_tb(error.__traceback__))
        parts.append(f"{frames}{_heading(error)}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\ncaused the following:\n\n".join(reversed(parts))


def _heading(error: BaseException) -> str:
    words = [f"{type(error).__module__}.{type(error).__qualname__}"]
    for name in ("sqlstate", "constraint_name"):
        value = getattr(error, name, None)
        if isinstance(value, str):
            words.append(f"{name}={value}")
    if type(error) in _SPOKEN:
        words.append(str(error))
    return " ".join(words)


def log_lost_errors(loop: asyncio.AbstractEventLoop) -> None:
    """Log what ends a task or a callback that nobody waits for; asyncio's own message quotes the exception."""

    def on_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        get_logger("asyncio").error("task.failed", exc_info=context.get("exception"))

    loop.set_exception_handler(on_error)


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Give a logger whose events are named ``noun.verb_past`` and carry fields."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(name)
    return logger
