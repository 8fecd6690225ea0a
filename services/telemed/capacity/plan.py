"""The arithmetic: consultations a day in, requests, cores, replicas, pools and connections out. Pure."""

import math
from dataclasses import dataclass

from telemed.capacity.connections import Pooler, Processes, clients_of
from telemed.capacity.measured import Measured
from telemed.capacity.traffic import PER_CONSULTATION, WITHOUT_DATABASE

SECONDS_A_DAY = 86_400
SERVICES = ("auth", "booking", "consultation")

# What a pod asks for. Half a core: its event loop can use one, and bursts use what the node has left (no limit).
CPU_MILLICORES = 500
MEMORY_MIB = 512  # 100 MB at rest (README, docker compose); 640 admitted requests with bodies of 256 KB are 160 MB more
# Of the request, aimed at by the autoscaler: a new pod takes a minute, and the peak must not wait for it.
CPU_TARGET_RATIO = 0.65
# One pod may be gone, by a node's drain or death, at the peak.
SPARE = 1
LEAST = 2
# The day that nobody foresaw: the autoscaler may double what the peak needs.
MOST_OVER_PEAK = 2
# Least room for growth that is kept whatever the arithmetic says.
LEAST_MOST = 4
# How long a request holds a connection at the worst: the 200 ms in which reads are promised.
HOLDS_SECONDS = 0.2
POOL_SIZE = 12  # the default of DATABASE_POOL_SIZE; more only where Little's law wants it

WORKERS = 2  # one works while the other is replaced
POOLERS = 2  # pods of each, for the same reason
ROLLING = 1  # pods that a rollout of a pooler adds
REPLICAS_READ = 2  # times that REPLICA_DATABASE_URLS names the address: once for each replica (decision 0018)
# Roles that log in: the services', auth's for the trail and the worker's to the primary; all read as the services'.
ROLES = {"primary": 3, "replicas": 1}
RESERVE_POOL = 4
# 8 to 16 connections for each of PostgreSQL's cores were the best; more only wait inside it.
CONNECTIONS_PER_CORE = 16
DATABASE_LEAST_CORES = 2
DATABASE_BUSY_RATIO = 0.5  # aimed at: checkpoints, vacuum and a replica's promotion need the rest
RESERVED_CONNECTIONS = 20  # migrations, the operator, replication, backups, people


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """One kind of pod. *cores* are busy at the peak."""

    name: str
    average_per_second: float
    peak_per_second: float
    cores: float
    at_peak: int
    least: int
    most: int
    is_scaled: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is printed."""

    consultations_per_day: int
    peak_factor: float
    average_per_second: float
    peak_per_second: float
    services: tuple[ServicePlan, ...]
    pool_size: int
    database_busy_cores: float
    database_cores: int
    poolers: dict[str, Pooler]
    max_connections: int
    reserved_connections: int
    clients: dict[str, int]

    @property
    def processes(self) -> list[Processes]:
        """Give them as the sums of connections want them."""
        return [_processes(service, self.pool_size) for service in self.services]


def plan(measured: Measured, consultations_per_day: int, peak_factor: float) -> Plan:
    """Work everything out."""
    per_second = consultations_per_day / SECONDS_A_DAY
    services = (*(_service(measured, name, per_second, peak_factor) for name in SERVICES), _worker())
    pool_size = max(
        POOL_SIZE, *(_connections_held(measured, service, per_second * peak_factor) for service in services)
    )
    busy = per_second * peak_factor * _each(measured, None, seconds_of="database")
    cores = max(DATABASE_LEAST_CORES, math.ceil(busy / DATABASE_BUSY_RATIO))
    kinds = [_processes(service, pool_size) for service in services]
    clients = {side: clients_of(kinds, side) for side in ROLES}
    poolers = {side: _pooler(side, cores, clients[side]) for side in ROLES}
    servers = sum(pooler.server_connections for pooler in poolers.values())
    return Plan(
        consultations_per_day=consultations_per_day,
        peak_factor=peak_factor,
        average_per_second=per_second * sum(PER_CONSULTATION.values()),
        peak_per_second=per_second * peak_factor * sum(PER_CONSULTATION.values()),
        services=services,
        pool_size=pool_size,
        database_busy_cores=busy,
        database_cores=cores,
        poolers=poolers,
        max_connections=_rounded_up(servers + RESERVED_CONNECTIONS, 10),
        reserved_connections=RESERVED_CONNECTIONS,
        clients=clients,
    )


def _service(measured: Measured, name: str, per_second: float, peak_factor: float) -> ServicePlan:
    average = per_second * sum(
        count for kind, count in PER_CONSULTATION.items() if measured.costs[kind].service == name
    )
    cores = per_second * peak_factor * _each(measured, name, seconds_of="service")
    usable = CPU_MILLICORES / 1000 * CPU_TARGET_RATIO
    at_peak = max(LEAST, math.ceil(cores / usable) + SPARE)
    return ServicePlan(
        name=name,
        average_per_second=average,
        peak_per_second=average * peak_factor,
        cores=cores,
        at_peak=at_peak,
        least=max(LEAST, math.ceil(cores / peak_factor / usable) + SPARE),
        most=max(LEAST_MOST, MOST_OVER_PEAK * at_peak),
    )


def _worker() -> ServicePlan:
    return ServicePlan("worker", 0.0, 0.0, 0.0, WORKERS, WORKERS, WORKERS, is_scaled=False)


def _each(measured: Measured, service: str | None, *, seconds_of: str) -> float:
    """Give the CPU seconds of one consultation: of one service, or of the database for all of them."""
    return sum(
        count * (cost.service_seconds if seconds_of == "service" else cost.database_seconds)
        for kind, count in PER_CONSULTATION.items()
        if (cost := measured.costs[kind]).service == service or service is None
    )


def _connections_held(measured: Measured, service: ServicePlan, per_second: float) -> int:
    """Give the connections that one pod holds at the peak with the spare one gone: rate times time (Little's law)."""
    rate = per_second * sum(
        count
        for kind, count in PER_CONSULTATION.items()
        if measured.costs[kind].service == service.name and kind not in WITHOUT_DATABASE
    )
    return math.ceil(rate / (service.at_peak - SPARE) * HOLDS_SECONDS)


def _processes(service: ServicePlan, pool_size: int) -> Processes:
    # auth has the login that reads the trail besides.
    primary = 2 if service.name == "auth" else 1
    return Processes(service.name, service.most, pool_size, primary, REPLICAS_READ)


def _pooler(side: str, cores: int, clients: int) -> Pooler:
    pool = math.ceil(CONNECTIONS_PER_CORE * cores / POOLERS)
    return Pooler(
        name="pooler-rw" if side == "primary" else "pooler-ro",
        instances=POOLERS,
        surge=ROLLING,
        roles=ROLES[side],
        default_pool_size=pool,
        reserve_pool_size=RESERVE_POOL,
        max_db_connections=ROLES["primary"] * (pool + RESERVE_POOL),
        max_client_conn=max(2000, _rounded_up(clients, 500)),
    )


def _rounded_up(value: float, step: int) -> int:
    return math.ceil(value / step) * step
