"""The poolers: transactions share few connections, and all of them together stay below what the database bears."""

import re
from collections.abc import Iterator

from tests.charts.invariants.application import LASTING_COMMANDS, command_of, ours, readable_settings, services_of
from tests.charts.invariants.database import RESERVED_CONNECTIONS, clusters
from tests.charts.invariants.files import quantity
from tests.charts.invariants.images import tag_of
from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.objects import Finding, Object, Rendering, chosen, dig, items, labels_of, name_of

from telemed.kernel.settings import Settings
from telemed.local import roles

# Older ones leave out a check of the client's login (CVE-2026-6664).
OLDEST_POOLER = (1, 25, 2)
# 8-16 connections per core of Postgres are the best.
POOL_SIZE = (4, 64)


def _settings(pooler: Object) -> dict[str, str]:
    return dict(dig(pooler, "spec.pgbouncer.parameters", {}))


def _cluster(rendering: Rendering, pooler: Object) -> Object | None:
    return rendering.named("Cluster", dig(pooler, "spec.cluster.name", ""), dig(pooler, "metadata.namespace", ""))


def _is_shared(rendering: Rendering, pooler: Object) -> bool:
    cluster = _cluster(rendering, pooler)
    return cluster is None or int(dig(cluster, "spec.instances", 1)) > 1


@invariant("Hundreds of processes share a few connections only if each is lent for one transaction.")
def poolers_lend_by_transaction(rendering: Rendering) -> Iterator[Finding]:
    for pooler in rendering.of("Pooler"):
        if dig(pooler, "spec.pgbouncer.poolMode") != "transaction":
            yield (pooler, "spec.pgbouncer.poolMode", "must be transaction")
        if dig(pooler, "spec.type") not in ("rw", "ro"):
            yield (pooler, "spec.type", "must be rw or ro")
        if _cluster(rendering, pooler) is None:
            yield (pooler, "spec.cluster.name", "is no database of this namespace")
        if dig(pooler, "spec.pgbouncer.paused"):
            yield (pooler, "spec.pgbouncer.paused", "must not be set")


@invariant("PgBouncer before 1.25.2 leaves out a check of the client's login.")
def poolers_have_their_fix(rendering: Rendering) -> Iterator[Finding]:
    for pooler in rendering.of("Pooler"):
        images = [
            dig(one, "image")
            for one in items(pooler, "spec.template.spec.containers")
            if one.get("name") == "pgbouncer"
        ]
        image = str(dig(pooler, "spec.pgbouncer.image", next(iter(images), "") or ""))
        version = re.match(r"(\d+)\.(\d+)\.(\d+)", tag_of(image))
        if "@" not in image and (not version or tuple(map(int, version.groups())) < OLDEST_POOLER):
            yield (pooler, "spec.template.spec.containers", f"{image!r} must be 1.25.2 or later")


@invariant("The only pooler of a database is its only door.")
def poolers_are_two(rendering: Rendering) -> Iterator[Finding]:
    for pooler in rendering.of("Pooler"):
        instances = dig(pooler, "spec.instances")
        least = 2 if _is_shared(rendering, pooler) else 1
        if not isinstance(instances, int) or not least <= instances <= 20:
            yield (pooler, "spec.instances", f"must be {least} to 20, not {instances}")
            continue
        budgets = [
            budget
            for pod in rendering.operated
            if name_of(pod.owner) == name_of(pooler) and pod.labels.get("cnpg.io/poolerName") == name_of(pooler)
            for budget in rendering.of("PodDisruptionBudget")
            if pod in chosen(dig(budget, "spec.selector"), [pod], dig(budget, "metadata.namespace", ""))
        ]
        if instances > 1 and len(budgets) != 1:
            yield (pooler, "metadata", f"has {len(budgets)} disruption budgets, must have one")
        for budget in budgets:
            if dig(budget, "spec.unhealthyPodEvictionPolicy") != "AlwaysAllow":
                yield (
                    budget,
                    "spec.unhealthyPodEvictionPolicy",
                    "must be AlwaysAllow: a pod that never gets ready blocks",
                )
            allowed = dig(budget, "spec.maxUnavailable")
            if (
                dig(budget, "spec.minAvailable") is not None
                or not isinstance(allowed, int)
                or not 1 <= allowed < max(instances, 2)
            ):
                yield (budget, "spec.maxUnavailable", f"must be at least 1, and less than all, not {allowed}")


@invariant("An update of the poolers takes none away before its successor is there.")
def poolers_roll_without_loss(rendering: Rendering) -> Iterator[Finding]:
    for pooler in rendering.of("Pooler"):
        strategy = dig(pooler, "spec.deploymentStrategy", {})
        rolling = strategy.get("rollingUpdate") or {}
        if strategy.get("type") != "RollingUpdate" or rolling.get("maxUnavailable") not in (0, "0%"):
            yield (pooler, "spec.deploymentStrategy", "must be RollingUpdate with maxUnavailable 0")
        if str(rolling.get("maxSurge", 0)).rstrip("%") in ("0", ""):
            yield (pooler, "spec.deploymentStrategy.rollingUpdate.maxSurge", "must be above 0")


@invariant("What poolers may open, all roles and an update's extra pods included, is less than the server accepts.")
def poolers_fit_the_database(rendering: Rendering) -> Iterator[Finding]:
    for pooler in rendering.of("Pooler"):
        settings, cluster = _settings(pooler), _cluster(rendering, pooler)
        size = int(settings.get("default_pool_size", 20))
        if "default_pool_size" not in settings or not POOL_SIZE[0] <= size <= POOL_SIZE[1]:
            yield (pooler, "spec.pgbouncer.parameters.default_pool_size", f"must be {POOL_SIZE[0]} to {POOL_SIZE[1]}")
        if int(settings.get("max_db_connections", 0)) < size:
            yield (pooler, "spec.pgbouncer.parameters.max_db_connections", "must be set, at least one pool's size")
        per_pod = int(settings.get("max_db_connections", 0)) or (
            (size + int(settings.get("reserve_pool_size", 0))) * len(roles.LOGINS)
        )
        pods = int(dig(pooler, "spec.instances", 1)) + 1
        accepted = int(dig(cluster, "spec.postgresql.parameters.max_connections", 100))
        if cluster and pods * per_pod + RESERVED_CONNECTIONS > accepted:
            yield (
                pooler,
                "spec.instances",
                f"{pods} pods x {per_pod} and {RESERVED_CONNECTIONS} are more than {accepted}",
            )


@invariant("A database that accepts far more connections than its cores can serve only gets slower.")
def databases_accept_no_crowd(rendering: Rendering) -> Iterator[Finding]:
    for cluster in clusters(rendering):
        given = dig(cluster, "spec.postgresql.parameters.max_connections")
        if given is None or not 50 <= int(given) <= 1000:
            yield (cluster, "spec.postgresql.parameters.max_connections", f"must be 50 to 1000, not {given}")


@invariant(
    "Who waits for a pooled connection, or for a server that is gone, learns it before the application gives up."
)
def poolers_give_up_in_time(rendering: Rendering) -> Iterator[Finding]:
    patience = float(Settings.model_fields["database_pool_timeout_seconds"].default)
    bounds = {
        "query_wait_timeout": (0.5, patience),
        "server_connect_timeout": (0.5, 5),
        "server_login_retry": (0.1, 2),
        "dns_max_ttl": (0.5, 10),
        "server_idle_timeout": (30, 3600),
        "server_lifetime": (60, 3600),
        "idle_transaction_timeout": (15, 300),
        "tcp_user_timeout": (1000, 30_000),
        "max_client_conn": (500, 20_000),
    }
    for pooler in rendering.of("Pooler"):
        for name, (least, most) in bounds.items():
            given = _settings(pooler).get(name)
            if given is None or not least <= float(given) <= most:
                yield (pooler, f"spec.pgbouncer.parameters.{name}", f"must be {least} to {most}, not {given}")
        for name in ("ignore_startup_parameters", "server_tls_sslmode", "client_tls_sslmode"):
            if _settings(pooler).get(name) in ("disable", "allow", "*"):
                yield (pooler, f"spec.pgbouncer.parameters.{name}", f"must not be {_settings(pooler)[name]}")


@invariant("A pooler is a pod like others: restricted, bounded, and not beside its twin.")
def poolers_are_restricted(rendering: Rendering) -> Iterator[Finding]:
    for pooler in rendering.of("Pooler"):
        spec = dig(pooler, "spec.template.spec", {})
        given = dig(spec, "securityContext", {})
        if given.get("runAsNonRoot") is not True or dig(given, "seccompProfile.type") != "RuntimeDefault":
            yield (pooler, "spec.template.spec.securityContext", "must be runAsNonRoot with seccomp RuntimeDefault")
        if spec.get("enableServiceLinks") is not False:
            yield (pooler, "spec.template.spec.enableServiceLinks", "must be false")
        if any(spec.get(field) for field in ("hostNetwork", "hostPID", "hostIPC")):
            yield (pooler, "spec.template.spec", "must share nothing of the host")
        for number, container in enumerate(items(spec, "containers")):
            yield from _restricted(pooler, f"spec.template.spec.containers[{number}]", container)
        keys = {
            rule.get("topologyKey") for rule in items(spec, "topologySpreadConstraints") if rule.get("maxSkew") == 1
        }
        if _is_shared(rendering, pooler) and "kubernetes.io/hostname" not in keys:
            yield (pooler, "spec.template.spec.topologySpreadConstraints", "must spread over nodes, with maxSkew 1")
        if not labels_of(dig(pooler, "spec.template", {})).get("app.kubernetes.io/component"):
            yield (pooler, "spec.template.metadata.labels", "app.kubernetes.io/component is missing")


def _restricted(pooler: Object, path: str, container: Object) -> Iterator[Finding]:
    given = dig(container, "securityContext", {})
    wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "runAsNonRoot": True}
    for field, value in wanted.items():
        if given.get(field) is not value:
            yield (pooler, f"{path}.securityContext.{field}", f"must be {str(value).lower()}")
    if dig(given, "capabilities.drop") != ["ALL"] or dig(given, "capabilities.add") or given.get("privileged"):
        yield (pooler, f"{path}.securityContext.capabilities", "must drop ALL and add nothing")
    asked, limit = dig(container, "resources.requests.memory", 0), dig(container, "resources.limits.memory")
    if limit is None or not 0 < quantity(asked) <= quantity(limit) <= 4 * quantity(asked):
        yield (pooler, f"{path}.resources", f"memory: {asked} is asked for, {limit} is the limit")
    if dig(container, "resources.limits.cpu") is not None or quantity(dig(container, "resources.requests.cpu", 0)) <= 0:
        yield (pooler, f"{path}.resources", "CPU must be asked for and not limited")


@invariant("What all processes may open, scaled to the most and in the middle of an update, the poolers accept.")
def processes_fit_the_poolers(rendering: Rendering) -> Iterator[Finding]:
    pools = 0
    for container in ours(rendering):
        settings, words = readable_settings(container), command_of(container)
        if settings and words[0] in LASTING_COMMANDS and container.pod.is_lasting:
            pods = rendering.most(container.pod.owner) * 1.25
            # Of the primary's pooler: the services' pool, and the auditor's where the trail is read.
            pools += int(pods * settings.database_pool_size * (2 if "audit" in services_of(words) else 1))
    for kind in ("rw", "ro"):
        of_kind = [pooler for pooler in rendering.of("Pooler") if dig(pooler, "spec.type") == kind]
        accepted = sum(
            int(_settings(pooler).get("max_client_conn", 100)) * int(dig(pooler, "spec.instances", 1))
            for pooler in of_kind
        )
        for pooler in of_kind:
            if pools > accepted:
                yield (pooler, "spec.pgbouncer.parameters.max_client_conn", f"{pools} clients, {accepted} are accepted")
