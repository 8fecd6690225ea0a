"""Structured logs: one JSON object a line on stdout, with the ids of the request. Never patient data."""

import asyncio
import atexit
import json
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from telemed.kernel.telemetry.answered import Answered
from telemed.kernel.telemetry.context import current_trace

# For so long may the line of an answered request wait for others: a write is a call to the kernel, which costs more
# than the line, and lines that are made one after the other cost less than one at a time between other work. A process
# that is killed loses so much of its access log; events of any other kind do not wait.
_PATIENCE_SECONDS = 0.02
# Numbers as they are written, to be looked up: formatting two of them costs as much as the rest of a line.
_SLOW_TENTHS = 2_500  # of a millisecond
_TENTHS = [f"{tenths / 10:.1f}" for tenths in range(_SLOW_TENTHS)]
_THREE_DIGITS = [f"{number:03d}" for number in range(1000)]


class _Stdout:
    """Writes lines to stdout in order: what one turn of the event loop has logged together, at its end.

    Answered requests wait for longer, unless another line comes that does not; *rendered* makes lines of them.
    """

    def __init__(self, rendered: Callable[[list[str | Answered]], list[str]]) -> None:
        self._rendered = rendered
        self._waiting: list[str | Answered] = []
        self._lock = threading.Lock()
        self._due_in: asyncio.AbstractEventLoop | None = None  # the loop whose turn ends with `flush`
        self._flushed_by = 0.0  # the instant by which some loop will have flushed, if it lives
        atexit.register(self.flush)

    def answered(self, request: Answered) -> None:
        """Write its line within _PATIENCE_SECONDS; from the thread of an event loop only."""
        self._waiting.append(request)
        # Not by asking which loop runs: until Python 3.12 that is a call to the kernel, and dearer than all else here.
        ended = request[-1]
        if ended > self._flushed_by:
            self._flushed_by = ended + _PATIENCE_SECONDS
            asyncio.get_running_loop().call_later(_PATIENCE_SECONDS, self._flush_in_time)

    def line(self, line: str) -> None:
        """Write the line, at the end of this turn of the event loop if there is one."""
        self._waiting.append(f"{line}\n")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # a thread, or before and after the loop
            self.flush()
            return
        if loop is not self._due_in:
            self._due_in = loop
            loop.call_soon(self.flush)

    def _flush_in_time(self) -> None:
        self._flushed_by = 0.0
        self.flush()

    def flush(self) -> None:
        """Write what waits."""
        self._due_in = None
        with self._lock:
            # Others may append meanwhile: theirs stay behind what is taken.
            taken = self._waiting[:]
            del self._waiting[: len(taken)]
            if taken:
                sys.stdout.write("".join(self._rendered(taken)))
                sys.stdout.flush()


class _Line:
    """Hands the events of one name to stdout, past the standard library, which would cost as much again."""

    def __init__(self, stdout: _Stdout, name: str = "") -> None:
        self.name = name
        self.debug = self.info = self.warning = self.error = self.critical = self.exception = stdout.line


class _FromLibraries(logging.Handler):
    """Writes what libraries log among our own lines."""

    def __init__(self, stdout: _Stdout) -> None:
        super().__init__()
        self._stdout = stdout

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self._stdout.line(self.format(record))


def _add_trace(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    trace = current_trace.get()
    if trace is not None:
        event["request_id"] = trace.request_id
        event["trace_id"] = trace.trace_id
        event["span_id"] = trace.span_id
    return event


# One for all lines: `json.dumps` with a default makes a new one each time, in Python.
_ENCODER = json.JSONEncoder(default=repr)


def _render(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
    return _ENCODER.encode(event)


class _RequestLines:
    """Makes the line of an answered request: what structlog's processors would make of it, at a tenth of their cost.

    One line for each request is most of what is logged. Its values need no escaping: methods, statuses, templates and
    events are ours, and ids are checked or made by `begin_trace`.
    """

    def __init__(self, service: str) -> None:
        self._end = f'"service": {_ENCODER.encode(service)}}}\n'
        # What requests have in common, by method, route, status and event: closed sets.
        self._heads: dict[tuple[str, str, str, str], str] = {}

    def rendered(self, lines: Iterable[str | Answered]) -> list[str]:
        """Give the lines; those that are made already as they are."""
        heads, end, tenths_written, digits = self._heads, self._end, _TENTHS, _THREE_DIGITS
        second, calendar = 0, ""
        made: list[str] = []
        for line in lines:
            if isinstance(line, str):
                made.append(line)
                continue
            event, (request_id, trace_id, span_id, _, _), method, route, status, _, seconds, ended = line
            head = heads.get((method, route, status, event)) or self._new_head(method, route, status, event)
            if int(ended) != second:
                second = int(ended)
                calendar = datetime.fromtimestamp(second, UTC).isoformat()[:19]
            tenths = int(seconds * 10_000 + 0.5)
            ms = tenths_written[tenths] if tenths < _SLOW_TENTHS else f"{tenths / 10:.1f}"
            thousandths, millionths = divmod(int((ended - second) * 1e6), 1000)
            made.append(
                f'{head}{ms}, "timestamp": "{calendar}.{digits[thousandths]}{digits[millionths]}Z",'
                f' "request_id": "{request_id}", "trace_id": "{trace_id}", "span_id": "{span_id}", {end}'
            )
        return made

    def _new_head(self, method: str, route: str, status: str, event: str) -> str:
        head = self._heads[method, route, status, event] = (
            f'{{"method": "{method}", "route": "{route}", "status": "{status}", "event": "{event}",'
            ' "level": "info", "logger": "http", "ms": '
        )
        return head


# Of a process whose logs are configured; where they are not (tests record events) structlog is told as of any event.
_stdout: _Stdout | None = None
_is_info = True


def log_request(answered: Answered) -> None:
    """Log how a request ended."""
    if _stdout is None:
        event, _, method, route, status, _, seconds, _ = answered
        get_logger("http").info(event, method=method, route=route, status=status, ms=round(seconds * 1000, 1))
    elif _is_info:
        _stdout.answered(answered)


def configure_logs(*, level: str, service: str) -> None:
    """Send our own events and those of libraries to stdout in one format.

    Tracebacks keep file, line and exception type of every frame, but no local variables and few messages
    (`safe_traceback`): those hold patient data.
    """

    def add_service(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service
        return event

    global _stdout, _is_info  # noqa: PLW0603 - like structlog's own configuration, one for the process
    _stdout = stdout = _Stdout(_RequestLines(service).rendered)
    _is_info = logging.getLevelNamesMapping()[level] <= logging.INFO
    shared: list[Any] = [  # structlog's processors have no common type
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
        add_service,
        structlog.processors.ExceptionRenderer(safe_traceback),
    ]
    structlog.configure(
        processors=[*shared, _render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=partial(_Line, stdout),
        cache_logger_on_first_use=True,
    )
    handler = _FromLibraries(stdout)
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
