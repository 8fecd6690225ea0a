"""Every route has the priority that this table says: what is refused first is decided on purpose, and by two."""

import re

from tests.support.api import ServedRoute

from telemed.cli import DEPLOYABLES
from telemed.kernel.http.route_table import UNKNOWN, RouteTable
from telemed.kernel.priority import Priority

TABLE = {
    "POST /auth/register": Priority.NORMAL,
    "POST /auth/login": Priority.NORMAL,
    "POST /auth/refresh": Priority.CRITICAL,
    "POST /auth/logout": Priority.CRITICAL,
    "GET /auth/me": Priority.NORMAL,
    "POST /auth/admin/role": Priority.NORMAL,
    "GET /auth/jwks.json": Priority.BROWSING,
    "PUT /booking/doctors/me": Priority.NORMAL,
    "GET /booking/doctors": Priority.BROWSING,
    "GET /booking/doctors/{doctor_id}": Priority.BROWSING,
    "POST /booking/slots": Priority.NORMAL,
    "DELETE /booking/slots/{slot_id}": Priority.NORMAL,
    "GET /booking/slots/search": Priority.BROWSING,
    "POST /booking/slots/book": Priority.CRITICAL,
    "GET /booking/appointments": Priority.NORMAL,
    "GET /booking/appointments/{appointment_id}": Priority.NORMAL,
    "POST /booking/appointments/{appointment_id}/cancel": Priority.CRITICAL,
    "POST /booking/appointments/{appointment_id}/reschedule": Priority.CRITICAL,
    "GET /consultation": Priority.NORMAL,
    "GET /consultation/{id}": Priority.NORMAL,
    "POST /consultation/{id}/start": Priority.CRITICAL,
    "POST /consultation/{id}/complete": Priority.CRITICAL,
    "POST /consultation/{id}/no-show": Priority.CRITICAL,
    "POST /consultation/{id}/prescription": Priority.CRITICAL,
    "GET /consultation/{id}/prescription": Priority.NORMAL,
    "GET /audit/events": Priority.EXPORT,
}


def test_every_route_has_the_priority_of_the_table(served: ServedRoute) -> None:
    """As the edge finds it by the request's path: a template that it does not match would be NORMAL."""
    method, _, template = served.name.partition(" ")
    path = re.sub(r"\{\w+\}", "0198f3c2-7a10-7c3e-9a54-3f1c5b7d2e90", template)
    known = RouteTable.of(DEPLOYABLES["all"]).find(method, path)
    assert known.template == template
    assert known.priority is TABLE[served.name]


def test_the_table_names_no_route_that_is_gone() -> None:
    """A stale name would hide the next route that gets it."""
    names = {
        ServedRoute(service, route).name
        for service in DEPLOYABLES["all"]
        for router in service.routers
        for route in router.routes
    }
    assert set(TABLE) == names


def test_the_documentation_is_browsing() -> None:
    """A page of megabytes for people with time."""
    table = RouteTable.of(DEPLOYABLES["all"])
    for path in ("/docs", "/openapi.json", "/docs/assets/swagger-ui.css"):
        assert table.find("GET", path).priority is Priority.BROWSING
    assert table.find("GET", "/nowhere") is UNKNOWN
