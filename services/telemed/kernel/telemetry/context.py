"""The ids under which a request can be found again, carried through everything that it does."""

import random
import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import NamedTuple

_TRACEPARENT = re.compile(r"^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,128}$")


class Trace(NamedTuple):  # made for every request, and made of a dataclass it would cost three times as much
    """One request's place in a trace (W3C Trace Context)."""

    request_id: str
    trace_id: str
    span_id: str
    sampled: bool
    parent_id: str | None = None  # the caller's span, if there is a caller who traces

    @property
    def traceparent(self) -> str:
        """Render the header that continues this trace elsewhere."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


current_trace: ContextVar[Trace | None] = ContextVar("telemed_trace", default=None)


def begin_trace(
    *,
    traceparent: str | None,
    request_id: str | None,
    decide: Callable[[bool | None], bool] = bool,
) -> Trace:
    """Continue the caller's trace, or begin one; ids of a wrong form are replaced, never echoed.

    *decide* is told what the caller has decided, None if nobody has, and says whether the trace is sampled. Without it
    the caller's word is passed on.
    """
    trace_id, span_id, new_request_id = _new_ids()
    parent_id = None
    match = _TRACEPARENT.match(traceparent) if traceparent else None
    if match and match[1] != _NO_TRACE and match[2] != _NO_SPAN:
        trace_id, parent_id = match[1], match[2]
        sampled = decide(bool(int(match[3], 16) & 1))
    else:
        sampled = decide(None)
    if request_id is None or not _REQUEST_ID.match(request_id):
        request_id = new_request_id
    return Trace(request_id, trace_id, span_id, sampled, parent_id)


def _new_ids() -> tuple[str, str, str]:
    """Give a trace's, a span's and a request's id. No secrets, for which the kernel would be asked each time."""
    # At once: three numbers and their formats cost four times as much.
    digits = random.randbytes(36).hex()  # noqa: S311 - no secrets
    trace_id, span_id = digits[:32], digits[32:48]
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:  # they would mean that there is none
        return _new_ids()
    return trace_id, span_id, digits[48:]
