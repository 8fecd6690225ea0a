"""What the platform asks of a process: is it alive, should it get traffic, what has it counted."""

import json

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder

from telemed.kernel.resources import Resources


def platform_router(resources: Resources) -> APIRouter:
    """Give ``/livez``, ``/readyz`` and ``/metrics``. None of them does any I/O."""
    router = APIRouter(include_in_schema=False)

    @router.get("/livez")
    async def livez() -> Response:
        return _json({"status": "alive"}, 200)

    @router.get("/readyz")
    async def readyz() -> Response:
        reasons = resources.health.reasons_not_ready()
        if reasons:
            return _json({"status": "not ready", "reasons": reasons}, 503)
        return _json({"status": "ready"}, 200)

    @router.get("/metrics")
    async def metrics(request: Request) -> Response:
        # Who asks for OpenMetrics, as Prometheus does, gets exemplars: the trace of a request in each bucket.
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(resources.metrics.registry), media_type=media_type)

    return router


def _json(body: dict[str, object], status: int) -> Response:
    return Response(json.dumps(body), status_code=status, media_type="application/json")
