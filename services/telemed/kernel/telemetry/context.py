"""The ids under which a request can be found again, carried through everything that it does."""

import re
import secrets
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

    @property
    def traceparent(self) -> str:
        """Render the header that continues this trace elsewhere."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


current_trace: ContextVar[Trace | None] = ContextVar("telemed_trace", default=None)


def begin_trace(*, traceparent: str | None, request_id: str | None) -> Trace:
    """Continue the caller's trace, or begin one; ids of a wrong form are replaced, never echoed."""
    match = _TRACEPARENT.match(traceparent or "")
    if match and match[1] != "0" * 32 and match[2] != "0" * 16:
        trace_id, sampled = match[1], bool(int(match[3], 16) & 1)
    else:
        trace_id, sampled = secrets.token_hex(16), False
    if request_id is None or not _REQUEST_ID.match(request_id):
        request_id = secrets.token_hex(12)
    return Trace(request_id=request_id, trace_id=trace_id, span_id=secrets.token_hex(8), sampled=sampled)
