"""Who is let in when there are too many: a share of the places for each priority, and an early, cheap no.

There is no queue. The event loop, the pool and the hashing threads have their own already; one more would only make
answers late that are not wanted any more by the time they come, and hide from the client that it should wait.
"""

import random
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from starlette.types import Scope

from telemed.kernel.priority import Priority
from telemed.kernel.problems import Overloaded
from telemed.kernel.telemetry.metrics import Metrics

# Up to which part of ADMISSION_LIMIT the process may be full, whoever fills it, for one more of this priority. The
# steps leave each priority places that those below cannot take: a seventh of all for CRITICAL, a quarter for NORMAL.
SHARES = {Priority.CRITICAL: 1.0, Priority.NORMAL: 0.85, Priority.BROWSING: 0.60, Priority.EXPORT: 0.15}
# Each holds one of the auditor's connections for long, and reads what nobody else has in the buffers. With two, a third
# officer was refused now and then though the machine was half idle (a journey of 10,000 requests, 2026-11-28).
EXPORTS_AT_ONCE = 4
# How late the event loop may be. A quarter of a second alone breaks the promise for reads (p95 below 0.2 s); at a
# second every request takes several, and at two (health.py) the process is not ready any more.
LATENESS_SECONDS = {Priority.NORMAL: 1.0, Priority.BROWSING: 0.25, Priority.EXPORT: 0.25}
_HELD = "telemed.place"  # where a request has it that was given one before it began
# When to come back, from and to: spread, so that those who were refused together do not return together; later for
# those who can wait.
COME_BACK_SECONDS = {
    Priority.CRITICAL: (1, 2),
    Priority.NORMAL: (1, 3),
    Priority.BROWSING: (2, 5),
    Priority.EXPORT: (10, 30),
}
_COME_BACK = {
    priority: [timedelta(seconds=seconds) for seconds in range(soonest, latest + 1)]
    for priority, (soonest, latest) in COME_BACK_SECONDS.items()
}


class Admission:
    """Counts the requests of one process that are being worked on."""

    def __init__(self, limit: int, *, lateness_seconds: Callable[[], float], metrics: Metrics) -> None:
        self._bounds = {priority: max(1, int(limit * share)) for priority, share in SHARES.items()}
        self._lateness_seconds = lateness_seconds
        self._total = 0
        self._held = dict.fromkeys(Priority, 0)
        self._refused = {
            # There at zero from the start, so that a rate can be taken.
            (priority, reason): metrics.refused.labels(priority, reason)
            for priority in Priority
            for reason in ("full", "exports", "late", "overrun")
        }
        for priority in Priority:
            # Read when somebody asks for the metrics, and not written twice a request.
            metrics.in_flight.labels(priority).set_function(partial(self._held.__getitem__, priority))

    def place(self, priority: Priority, *, room: int | None = None) -> "Place":
        """Give a place, not taken yet; *room* says how many of this priority there may be, if fewer than ever."""
        return Place(self, priority, room)

    def hold(self, scope: Scope, priority: Priority) -> None:
        """Take a place for a request that is let in and begins a little later, so that it counts from now on."""
        place = scope[_HELD] = Place(self, priority, None)
        place.hold()

    def refusal(self, priority: Priority, room: int | None = None) -> Overloaded | None:
        """Say why one more of this priority is not let in, if it is not."""
        come_back = self.turn_away(priority, room)
        return Overloaded(retry_after=come_back) if come_back is not None else None

    def turn_away(self, priority: Priority, room: int | None = None) -> timedelta | None:
        """Say when one more of this priority is to come back, if it is not let in; it is counted then."""
        reason = self._reason(priority, room)
        if reason is None:
            return None
        self._refused[priority, reason].inc()
        return random.choice(_COME_BACK[priority])  # noqa: S311 - not a secret

    def is_closed_to(self, priority: Priority, room: int | None = None) -> bool:
        """Tell whether one more of this priority would be refused now."""
        return self._reason(priority, room) is not None

    def move(self, priority: Priority, by: int) -> None:
        """Count one more, or one fewer."""
        self._total += by
        self._held[priority] += by

    def _reason(self, priority: Priority, room: int | None = None) -> str | None:
        if room is not None and self._held[priority] >= room:
            return "overrun"
        if self._total >= self._bounds[priority]:
            return "full"
        if priority is Priority.EXPORT and self._held[priority] >= EXPORTS_AT_ONCE:
            return "exports"
        if self._lateness_seconds() > LATENESS_SECONDS.get(priority, float("inf")):
            return "late"
        return None


def held_place(scope: Scope) -> "Place | None":
    """Give the place that was taken for the request beforehand, if there is one."""
    place: Place | None = scope.get(_HELD)
    return place


class Place:
    """One request's place. Taken once everything of the request is there: who drips a body in holds up nobody."""

    __slots__ = ("_admission", "_is_taken", "_priority", "_room")

    def __init__(self, admission: Admission, priority: Priority, room: int | None) -> None:
        self._admission = admission
        self._priority = priority
        self._room = room
        self._is_taken = False

    def hold(self) -> None:
        """Take the place; whoever calls has asked whether there is one."""
        self._is_taken = True
        self._admission.move(self._priority, 1)

    def refusal(self) -> Overloaded | None:
        """Say whether the place could not be taken now; for a request whose body is still to be read."""
        return self._admission.refusal(self._priority, self._room)

    def take(self) -> Overloaded | None:
        """Take the place, or say why not; one that is held already is taken."""
        if self._is_taken:
            return None
        refusal = self._admission.refusal(self._priority, self._room)
        if refusal is None:
            self.hold()
        return refusal

    def free(self) -> None:
        """Give it back, if it was taken."""
        if self._is_taken:
            self._is_taken = False
            self._admission.move(self._priority, -1)
