"""Reads a request at a glance: one whole GET request, if nothing about it needs to be thought about.

For who must know little and know it at once. The parser with its callbacks, and the scope and the cycle that uvicorn
makes of a request, cost ten times as much. Everything else is left to them: a part of a request, two of them, one with
a body, one that says how its connection goes on, and all that is wrong.
"""

import re

# What the edge is told of who asks: `traceparent`, `X-Request-ID` and `User-Agent`.
Caller = tuple[str | None, str | None, bytes | None]

_MOST_BYTES = 8 * 1024  # what common proxies pass on
# Nothing is given back and tried otherwise (`++`, `*+`), so no request takes longer than its length. Of a header that
# is there twice the last one counts, as everywhere at the edge. Values that a parser might trim are not read.
_WHOLE_GET = re.compile(
    rb"GET (/[!-\"$->@-~]*+)(?:\?[!-\"$-~]*+)?+ HTTP/1\.1\r\n"
    rb"(?:"
    rb"(?i:traceparent): ([!-~]++)\r\n"
    rb"|(?i:x-request-id): ([!-~]++)\r\n"
    rb"|(?i:user-agent): ([!-~][ -~]*+)\r\n"
    rb"|(?i:connection: keep-alive)\r\n"
    # Any other, unless it is one of these in another form, or changes what the request means.
    rb"|(?!(?i:traceparent|x-request-id|user-agent|x-request-deadline|(?:proxy-)?connection|upgrade|expect"
    rb"|content-length|transfer-encoding):)[A-Za-z0-9-]++:[\t -~\x80-\xff]*+\r\n"
    rb")*+\r\n"
)


def at_a_glance(data: bytes) -> tuple[str, Caller] | None:
    """Give the request's path and who asks; None if *data* is anything but one whole request that is regular."""
    read = _WHOLE_GET.fullmatch(data) if len(data) <= _MOST_BYTES else None
    if read is None:
        return None
    path, *ids, user_agent = read.groups()
    traceparent, request_id = (None if value is None else value.decode() for value in ids)
    return path.decode(), (traceparent, request_id, user_agent)
