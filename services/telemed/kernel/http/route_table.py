"""Which route a request will reach, known before the router is asked: its template and its priority, for the edge.

Two dictionary look-ups for most requests; the router's own way, one regular expression after the other, costs more than
refusing a request may.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fastapi.routing import APIRoute

from telemed.kernel.priority import Priority
from telemed.kernel.service import Service
from telemed.kernel.telemetry.answered import UNMATCHED


class KnownRoute(NamedTuple):
    """What the edge needs of a route."""

    template: str
    priority: Priority


class Place(NamedTuple):
    """A route as it is counted: *success* is the status with which it answers when all is well."""

    method: str
    template: str
    success: int


UNKNOWN = KnownRoute(UNMATCHED, Priority.NORMAL)
# What the application answers beside its services' routes.
_DOCUMENTATION = {
    ("GET", path): KnownRoute(path, Priority.BROWSING) for path in ("/docs", "/docs/assets/{path}", "/openapi.json")
}
_ANY = "{}"  # stands for any one part of a path; no decoded path of a client can end the walk with it
_END = "/"  # no part of a path holds a slash


class RouteTable:
    """The routes of an application's services, by method and path."""

    def __init__(self, routes: Mapping[tuple[str, str], KnownRoute], places: Sequence[Place] = ()) -> None:
        self.places = places
        self._fixed = {place: known for place, known in routes.items() if "{" not in place[1]}
        self._trees: dict[str, dict[str, Any]] = {}  # nested by part; what a part leads to has no type of its own
        for (method, path), known in routes.items():
            if "{" in path:
                node = self._trees.setdefault(method, {})
                for part in path.split("/"):
                    node = node.setdefault(_ANY if part.startswith("{") else part, {})
                node[_END] = known

    @classmethod
    def of(cls, services: Iterable[Service]) -> "RouteTable":
        """Gather what the services serve.

        Raises:
            ValueError: a service names a route that it does not have; spelt wrong, it would be NORMAL without a word.
        """
        table, served = dict(_DOCUMENTATION), list[Place]()
        for service in services:
            places = _places_of(service)
            named = {f"{place.method} {place.template}": place for place in places}
            unknown = service.priorities.keys() - named.keys()
            if unknown:
                raise ValueError(f"{service.name} has no route {', '.join(sorted(unknown))}")
            for name, (method, template, _) in named.items():
                table[method, template] = KnownRoute(template, service.priorities.get(name, Priority.NORMAL))
            served += places
        return cls(table, served)

    def find(self, method: str, path: str) -> KnownRoute:
        """Give the route, as the router will find it; `UNKNOWN` if there is none."""
        fixed = self._fixed.get((method, path))
        if fixed is not None:
            return fixed
        tree = self._trees.get(method)
        if tree is None:
            return UNKNOWN
        return _walk(tree, path.split("/"), 0) or UNKNOWN


def _places_of(service: Service) -> list[Place]:
    return [
        Place(method, route.path, route.status_code or 200)
        for router in service.routers
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    ]


def _walk(node: dict[str, Any], parts: list[str], at: int) -> KnownRoute | None:
    if at == len(parts):
        known: KnownRoute | None = node.get(_END)
        return known
    # No deeper than the templates are. A part that is written out goes first, as it should in a router too.
    for part in (parts[at], _ANY):
        below = node.get(part)
        if below is not None and part != _END and (found := _walk(below, parts, at + 1)) is not None:
            return found
    return None
