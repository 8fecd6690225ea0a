"""What a load test must hold: the objectives, as its pass or fail."""

from typing import Any

from telemed.slo.catalogue import Kind, Slo


def gates(slos: list[Slo]) -> dict[str, Any]:
    """Give one gate for each objective that a client can measure; how fresh the worker is, it cannot see.

    `objective_ratio`: the share of requests that must be good. `threshold_seconds`: within which time, for latency.
    `methods` and `route`: which requests; null: all of them.
    """
    return {
        "gates": [
            {
                "slo": slo.name,
                "title": slo.title,
                "kind": slo.kind.value,
                "objective_ratio": float(slo.objective / 100),
                "threshold_seconds": None if slo.threshold_seconds is None else float(slo.threshold_seconds),
                "methods": list(slo.methods) or None,
                "route": slo.route,
                "good": slo.good,
                "bad": slo.bad,
            }
            for slo in slos
            if slo.kind is not Kind.FRESHNESS
        ]
    }
