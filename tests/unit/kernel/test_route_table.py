"""The table by which the edge knows a route: it finds what the router would find, and nothing else."""

import re

import pytest
from fastapi import APIRouter

from telemed.kernel.http.route_table import UNKNOWN, KnownRoute, RouteTable
from telemed.kernel.priority import Priority
from telemed.kernel.service import Service

TEMPLATES = ["/a", "/a/b", "/a/{id}", "/a/{id}/c", "/a/b/d", "/{any}/x/y"]
TABLE = RouteTable({("GET", path): KnownRoute(path, Priority.NORMAL) for path in TEMPLATES})


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/a", "/a"),
        ("/a/b", "/a/b"),
        ("/a/7", "/a/{id}"),
        ("/a/b/d", "/a/b/d"),
        ("/a/b/c", "/a/{id}/c"),  # although another route begins with /a/b
        ("/a/x/y", "/{any}/x/y"),  # although others begin with /a
        ("/a/{}", "/a/{id}"),
    ],
)
def test_finds_the_route(path: str, template: str) -> None:
    """Parts that are written out first, then those that stand for any."""
    assert TABLE.find("GET", path).template == template


@pytest.mark.parametrize("path", ["", "/", "//", "a", "/a/", "/a/7/", "/a/7/d", "/{}/{}", "/a/7/c/", "/b", "/" * 9000])
def test_finds_nothing_else(path: str) -> None:
    """Whatever a client may send as a path."""
    assert TABLE.find("GET", path) in {UNKNOWN, TABLE.find("GET", "/a/")}
    assert TABLE.find("POST", path) is UNKNOWN


def test_a_service_names_only_routes_that_it_has() -> None:
    """Spelt wrong, the route would be refused like any other, and nobody would know."""
    router = APIRouter()

    @router.get("/a/{id}")
    async def a() -> None: ...

    def service(name: str) -> Service:
        return Service("a", "a", (router,), priorities={name: Priority.CRITICAL})

    assert RouteTable.of([service("GET /a/{id}")]).find("GET", "/a/1").priority is Priority.CRITICAL
    with pytest.raises(ValueError, match=re.escape("a has no route GET /a/{di}")):
        RouteTable.of([service("GET /a/{di}")])
