"""The ids under which a request can be found again, carried through everything that it does."""

import random
import re
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$")
_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,128}$")


@dataclass(frozen=True, slots=True)
class Trace:
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
    match = _TRACEPARENT.match(traceparent or "")
    if match and match[1] != "0" * 32 and match[2] != "0" * 16:
        trace_id, parent_id = match[1], match[2]
        sampled = decide(bool(int(match[3], 16) & 1))
    else:
        trace_id, parent_id = _new_id(16), None
        sampled = decide(None)
    if request_id is None or not _REQUEST_ID.match(request_id):
        request_id = _new_id(12)
    return Trace(request_id, trace_id, _new_id(8), sampled=sampled, parent_id=parent_id)


def _new_id(size: int) -> str:
    """Give so many random bytes in hex, never all zeros. No secrets, for which the kernel would be asked each time."""
    return f"{random.getrandbits(8 * size) or 1:0{2 * size}x}"
