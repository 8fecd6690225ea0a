"""Every kind of request that a journey makes: its route, and the answers that such a request deserves."""

from dataclasses import dataclass

READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Route:
    """A request's method and route template, as the server's metrics name them; *expected* statuses are answers."""

    method: str
    template: str
    expected: frozenset[int]

    @property
    def is_read(self) -> bool:
        """Tell whether it changes nothing."""
        return self.method in READS


def _route(method: str, template: str, *expected: int) -> Route:
    return Route(method, template, frozenset(expected))


# 409 and 410 are answers of the domain: somebody else was faster, or the slot began. A 404 is none: everything that a
# journey asks for was shown to it before. 429 and 503 never are: they are refusals for want of room.
ROUTES: dict[str, Route] = {
    "login": _route("POST", "/auth/login", 200),
    "refresh": _route("POST", "/auth/refresh", 200),
    "me": _route("GET", "/auth/me", 200),
    "search": _route("GET", "/booking/slots/search", 200),
    "directory": _route("GET", "/booking/doctors", 200),
    "doctor": _route("GET", "/booking/doctors/{doctor_id}", 200),
    "book": _route("POST", "/booking/slots/book", 201, 409, 410),
    "appointment": _route("GET", "/booking/appointments/{appointment_id}", 200),
    "appointments": _route("GET", "/booking/appointments", 200),
    "cancel": _route("POST", "/booking/appointments/{appointment_id}/cancel", 200, 409),
    "reschedule": _route("POST", "/booking/appointments/{appointment_id}/reschedule", 200, 409, 410),
    "publish": _route("POST", "/booking/slots", 201, 409),
    "consultations": _route("GET", "/consultation", 200),
    "consultation": _route("GET", "/consultation/{id}", 200),
    "start": _route("POST", "/consultation/{id}/start", 200, 409),
    "prescribe": _route("POST", "/consultation/{id}/prescription", 201, 409),
    "complete": _route("POST", "/consultation/{id}/complete", 200, 409),
    "prescription": _route("GET", "/consultation/{id}/prescription", 200),
    "audit": _route("GET", "/audit/events", 200),
    "roles": _route("GET", "/audit/events", 200),  # who was given which role, and by whom
}
