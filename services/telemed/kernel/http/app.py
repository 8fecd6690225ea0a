"""Assembles a FastAPI application from services: one for a pod of its own, all of them for a laptop."""

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import SecretStr

from telemed.kernel.http.docs import install_docs
from telemed.kernel.http.middleware import Edge
from telemed.kernel.http.openapi import openapi_document
from telemed.kernel.http.platform_routes import platform_router
from telemed.kernel.http.problem_responses import install_problem_handlers
from telemed.kernel.http.route_table import RouteTable
from telemed.kernel.http.straight import straight_ways
from telemed.kernel.resources import Resources, open_resources
from telemed.kernel.service import Service
from telemed.kernel.settings import Settings


def build_api(services: Sequence[Service], resources: Resources, *, with_platform_routes: bool) -> FastAPI:
    """Build the application of these services on these resources, without its `Edge`."""
    name = services[0].name if len(services) == 1 else "all"
    title = f"Telemed {services[0].title}" if len(services) == 1 else "Telemed"
    app = FastAPI(
        title=title,
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,  # a redirect would be no problem document, and would point where `Host` says
    )
    app.state.resources = resources
    for service in services:
        for router in service.routers:
            app.include_router(router)
    if with_platform_routes:
        app.include_router(platform_router(resources))
    install_problem_handlers(app, service=name, metrics=resources.metrics)
    install_docs(app)

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = openapi_document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
    return app


def at_the_edge(app: FastAPI, services: Sequence[Service], resources: Resources) -> Edge:
    """Put the application behind the middleware that every request passes."""
    return Edge(
        app,
        resources.tracing.instrumented(app),
        service=services[0].name if len(services) == 1 else "all",
        routes=RouteTable.of(services),
        straight=straight_ways(app, services),
        memories={path: resources.part(kind) for service in services for path, kind in service.memories.items()},
        resources=resources,
    )


def build_platform_app(resources: Resources) -> FastAPI:
    """Build the application of the management port: probes and metrics only."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(platform_router(resources))
    return app


def describe(services: Sequence[Service]) -> dict[str, Any]:
    """Render the document of these services without a database or a configuration."""
    return asyncio.run(_describe(services))


async def _describe(services: Sequence[Service]) -> dict[str, Any]:
    settings = Settings(jwt_secret=SecretStr("only-to-render-the-document, never used"))
    async with open_resources(settings, constraint_problems={}) as resources:
        return openapi_document(build_api(services, resources, with_platform_routes=False))
