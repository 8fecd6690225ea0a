"""The routes of the services, for rules about all of them."""

from collections.abc import Iterator
from dataclasses import dataclass

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from telemed.contracts.access import AccessRule
from telemed.kernel.problems import MEDIA_TYPE
from telemed.kernel.service import Service


@dataclass(frozen=True)
class ServedRoute:
    """A route with the service that it belongs to."""

    service: Service
    route: BaseRoute

    @property
    def api(self) -> APIRoute:
        """Give the route, which must be one of FastAPI's."""
        assert isinstance(self.route, APIRoute)
        return self.route

    @property
    def name(self) -> str:
        """Give method and path."""
        return " ".join([*sorted(self.api.methods or ()), self.api.path])

    @property
    def changes_something(self) -> bool:
        """Tell whether its method is one that may."""
        return not (self.api.methods or set()) <= {"GET", "HEAD", "OPTIONS"}

    @property
    def rules(self) -> list[AccessRule]:
        """Give the access rules among its dependencies, however deep."""
        calls: list[object] = [found.call for found in self.dependencies()]
        return [call for call in calls if isinstance(call, AccessRule)]

    def dependencies(self) -> Iterator[Dependant]:
        """Walk over everything that it depends on."""
        waiting = [self.api.dependant]
        while waiting:
            dependant = waiting.pop()
            waiting += dependant.dependencies
            yield dependant

    @property
    def declared(self) -> set[str]:
        """Give the slugs of the problems that it declares."""
        return {
            slug
            for response in self.api.responses.values()
            for slug in response.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
        }
