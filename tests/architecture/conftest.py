from typing import Any

import pytest
from tests.support.api import ServedRoute

from telemed.cli import DEPLOYABLES
from telemed.kernel.http.app import describe


def all_routes() -> list[ServedRoute]:
    return [
        ServedRoute(service, route)
        for service in DEPLOYABLES["all"]
        for router in service.routers
        for route in router.routes
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `served` is run for every route, one that asks for `service` for every service."""
    if "served" in metafunc.fixturenames:
        routes = all_routes()
        metafunc.parametrize("served", routes, ids=[route.name for route in routes])
    if "service" in metafunc.fixturenames:
        metafunc.parametrize("service", DEPLOYABLES["all"], ids=lambda service: str(service.name))


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    """The OpenAPI document of the combined application."""
    return describe(DEPLOYABLES["all"])
