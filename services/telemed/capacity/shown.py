"""The plan as people and programs want it: a table, JSON, or values of the charts. Pure."""

import json
from dataclasses import asdict
from typing import Any

from telemed.capacity.measured import Measured
from telemed.capacity.plan import CPU_MILLICORES, CPU_TARGET_RATIO, MEMORY_MIB, Plan, ServicePlan

_ROW = "{:<14}{:>10}{:>10}{:>8}{:>9}{:>10}{:>10}"


def as_table(plan: Plan, measured: Measured) -> str:
    """Write it for people."""
    lines = [
        f"{plan.consultations_per_day:,} consultations a day: {plan.average_per_second:.1f} requests/s on average, "
        f"{plan.peak_per_second:.1f} at the peak (factor {plan.peak_factor:g}).",
        "",
        _ROW.format("", "average/s", "peak/s", "cores", "at peak", "HPA min", "HPA max"),
        *(_row(service) for service in plan.services),
        "",
        f"each pod           {CPU_MILLICORES}m CPU (aimed at: {CPU_TARGET_RATIO:.0%}), {MEMORY_MIB} Mi memory, "
        f"DATABASE_POOL_SIZE {plan.pool_size}",
        f"PostgreSQL         {plan.database_busy_cores:.2f} cores busy at the peak: {plan.database_cores} cores, "
        f"max_connections {plan.max_connections}, of these {plan.reserved_connections} in reserve",
    ]
    for side, pooler in plan.poolers.items():
        lines.append(
            f"{pooler.name:<18} {pooler.instances} pods with default_pool_size {pooler.default_pool_size}, "
            f"reserve_pool_size {pooler.reserve_pool_size}, max_db_connections {pooler.max_db_connections}, "
            f"max_client_conn {pooler.max_client_conn} (at most {plan.clients[side]} clients)"
        )
    known = measured.circumstances
    lines += ["", f"Costs measured on {known['date']} at {known['commit']}: {known['machine']}, `{known['command']}`."]
    return "\n".join(lines) + "\n"


def as_json(plan: Plan, measured: Measured) -> str:
    """Write it for programs."""
    return json.dumps(asdict(plan) | {"measured": measured.circumstances}, indent=2) + "\n"


def as_values(plan: Plan, chart: str) -> str:
    """Write a values file of the chart `telemed` or `telemed-data`."""
    head = f"# {chart}: {plan.consultations_per_day:,} consultations a day, peak factor {plan.peak_factor:g}.\n"
    values = _telemed(plan) if chart == "telemed" else _telemed_data(plan)
    return head + "".join(_yaml(values))


def _row(service: ServicePlan) -> str:
    if not service.is_scaled:
        return _ROW.format(service.name, "", "", "", service.at_peak, "", "")
    return _ROW.format(
        service.name,
        f"{service.average_per_second:.1f}",
        f"{service.peak_per_second:.1f}",
        f"{service.cores:.2f}",
        service.at_peak,
        service.least,
        service.most,
    )


def _telemed(plan: Plan) -> dict[str, Any]:
    components = {}
    for service in plan.services:
        scaled = {"mode": "hpa", "minReplicas": service.least, "maxReplicas": service.most}
        components[service.name] = (
            {"autoscaling": scaled}
            if service.is_scaled
            else {"autoscaling": {"mode": "none"}, "replicas": service.at_peak}
        )
    return {
        "settings": {"DATABASE_POOL_SIZE": plan.pool_size},
        "defaults": {
            "autoscaling": {"cpuPercent": round(100 * CPU_TARGET_RATIO)},
            "resources": {"requests": {"cpu": f"{CPU_MILLICORES}m", "memory": f"{MEMORY_MIB}Mi"}},
        },
        "components": components,
        "database": {"maxClientConnections": min(pooler.max_client_conn for pooler in plan.poolers.values())},
    }


def _telemed_data(plan: Plan) -> dict[str, Any]:
    def parameters(side: str) -> dict[str, str]:
        pooler = plan.poolers[side]
        return {
            "default_pool_size": str(pooler.default_pool_size),
            "reserve_pool_size": str(pooler.reserve_pool_size),
            "max_db_connections": str(pooler.max_db_connections),
            "max_client_conn": str(pooler.max_client_conn),
        }

    return {
        "postgres": {
            "resources": {"requests": {"cpu": str(plan.database_cores)}},
            "maxConnections": plan.max_connections,
            "reservedConnections": plan.reserved_connections,
        },
        "poolers": {
            name: {"instances": plan.poolers[side].instances, "parameters": parameters(side)}
            for name, side in (("rw", "primary"), ("ro", "replicas"))
        },
    }


def _yaml(values: dict[str, Any], indent: int = 0) -> list[str]:
    """Write nested maps of numbers and texts; texts are quoted, as YAML takes some of them for numbers."""
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"{' ' * indent}{key}:\n", *_yaml(value, indent + 2)]
        else:
            lines.append(f"{' ' * indent}{key}: {json.dumps(value)}\n")
    return lines
