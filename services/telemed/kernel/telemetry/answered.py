"""An answered request as telemetry takes it down: what its log line and, if it is sampled, its span are made of.

Neither is made while the next request waits. Taken down is a plain tuple, the same one for both: a named one costs as
much as a counter, and the objects of a span, made between two requests, cost several times what they do in a row.
"""

import time

from telemed.kernel.telemetry.context import Trace

# The method of a request that HTTP does not know, and the route of one that has none, as metrics and logs call them.
OTHER_METHOD = "other"
UNMATCHED = "unmatched"
# Event (`request.answered` or `request.abandoned`), trace, method, route, status, scheme, seconds that it took, seconds
# since 1970 when it ended.
Answered = tuple[str, Trace, str, str, str, str, float, float]


def answered_now(
    event: str, trace: Trace, method: str, route: str, status: str, scheme: str, seconds: float
) -> Answered:
    """Take down a request that has just ended, *seconds* after it began."""
    return event, trace, method, route, status, scheme, seconds, time.time()
