"""What a pod asks of its node, and where it goes."""

from collections.abc import Iterator

from tests.charts.invariants.application import LASTING_COMMANDS, command_of, is_production, ours, readable_settings
from tests.charts.invariants.files import quantity
from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.leftout import NODE_SPREAD, ZONE_SPREAD, must_have
from tests.charts.invariants.objects import Finding, Rendering, dig, items, labels_of

# An interpreter with everything loaded; less, and the pod is killed at its first burst.
LEAST_MEMORY = {"serve": 192 * 2**20, "work": 128 * 2**20, "migrate": 96 * 2**20}
LEAST_CPU = {"serve": 0.1, "work": 0.05, "migrate": 0.05}
MOST_CPU = 16
SPREADS = {"kubernetes.io/hostname": NODE_SPREAD, "topology.kubernetes.io/zone": ZONE_SPREAD}


@invariant("A pod that asks for nothing is put anywhere, and evicted first.")
def resources_are_asked_for(rendering: Rendering) -> Iterator[Finding]:
    for container in rendering.containers:
        for resource in ("cpu", "memory"):
            asked = dig(container.spec, f"resources.requests.{resource}")
            if asked is None or quantity(asked) <= 0:
                yield container.found(f"resources.requests.{resource}", "must be above 0")


@invariant(
    "A pod with a higher limit than it asked for is killed for its neighbour's growth; one without, its neighbours."
)
def memory_is_what_was_asked_for(rendering: Rendering) -> Iterator[Finding]:
    for container in rendering.containers:
        asked = dig(container.spec, "resources.requests.memory")
        limit = dig(container.spec, "resources.limits.memory")
        if limit is None or asked is None or quantity(asked) != quantity(limit):
            yield container.found("resources.limits.memory", f"must be the request, {asked}, not {limit}")


@invariant("A CPU limit throttles a burst while cores are idle; it is latency for nothing.")
def cpu_is_not_limited(rendering: Rendering) -> Iterator[Finding]:
    for container in rendering.containers:
        if dig(container.spec, "resources.limits.cpu") is not None:
            yield container.found("resources.limits.cpu", "must not be set")


@invariant("Less memory than the interpreter needs is a crash, and less CPU than a request needs is latency.")
def resources_are_enough(rendering: Rendering) -> Iterator[Finding]:
    for container in ours(rendering):
        command = command_of(container)[0]
        memory = quantity(dig(container.spec, "resources.requests.memory", 0))
        cpu = quantity(dig(container.spec, "resources.requests.cpu", 0))
        if memory < LEAST_MEMORY.get(command, 0):
            yield container.found("resources.requests.memory", f"must be at least {LEAST_MEMORY[command] // 2**20}Mi")
        if is_production(rendering) and not LEAST_CPU.get(command, 0) <= cpu <= MOST_CPU:
            yield container.found("resources.requests.cpu", f"must be {LEAST_CPU.get(command, 0)} to {MOST_CPU}")


@invariant("Two pods on one node, or in one zone, are lost together.")
def pods_are_spread(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.lasting:
        if rendering.most(pod.owner) < 2:
            continue
        keys = {rule.get("topologyKey") for rule in items(pod.spec, "topologySpreadConstraints")}
        for weight in ("required", "preferred"):
            for term in items(pod.spec, f"affinity.podAntiAffinity.{weight}DuringSchedulingIgnoredDuringExecution"):
                keys.add(term.get("podAffinityTerm", term).get("topologyKey"))
        for key, word in SPREADS.items():
            is_asked = pod.owner["kind"] == "Deployment" or word == NODE_SPREAD
            if is_asked and key not in keys and must_have(rendering, pod, word):
                yield pod.found("spec.topologySpreadConstraints", f"must spread over {key}")


@invariant("A rule of spreading that is loose or misspelt spreads nothing.")
def spread_is_meant(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.lasting:
        for number, rule in enumerate(items(pod.spec, "topologySpreadConstraints")):
            path = f"spec.topologySpreadConstraints[{number}]"
            if rule.get("topologyKey") not in ("kubernetes.io/hostname", "topology.kubernetes.io/zone"):
                yield pod.found(f"{path}.topologyKey", f"{rule.get('topologyKey')!r} is no node and no zone")
            if rule.get("maxSkew") != 1:
                yield pod.found(f"{path}.maxSkew", "must be 1")
            if rule.get("whenUnsatisfiable") not in ("ScheduleAnyway", "DoNotSchedule"):
                yield pod.found(f"{path}.whenUnsatisfiable", "must be ScheduleAnyway or DoNotSchedule")


@invariant(
    "Pods that are spread, and count those of the release before, are put anywhere in an update, or cannot be placed."
)
def spread_counts_one_release(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.lasting:
        for number, rule in enumerate(items(pod.spec, "topologySpreadConstraints")):
            if pod.owner["kind"] == "Deployment" and "pod-template-hash" not in items(rule, "matchLabelKeys"):
                yield pod.found(
                    f"spec.topologySpreadConstraints[{number}].matchLabelKeys", "must be [pod-template-hash]"
                )


@invariant("Who is placed first is decided once for the cluster: a chart refers to a class and makes none.")
def priorities_are_referred_to(rendering: Rendering) -> Iterator[Finding]:
    for thing in rendering.of("PriorityClass"):
        if "helm.sh/chart" in labels_of(thing) or labels_of(thing).get("app.kubernetes.io/managed-by") == "Helm":
            yield (thing, "kind", "is made for the cluster, not by a chart")
        if thing.get("globalDefault") or int(thing.get("value", 0)) >= 1_000_000_000:
            yield (thing, "value", "must be below the cluster's own, and nobody's default")
    for pod in rendering.pods:
        if str(pod.spec.get("priorityClassName", "")).startswith("system-"):
            yield pod.found("spec.priorityClassName", "is the cluster's own")
        if pod.spec.get("priority") is not None:
            yield pod.found("spec.priority", "must come from a class")


@invariant("A pod that is tied to one node, or that may run on any however broken, goes with it.")
def pods_are_not_tied_to_nodes(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        if pod.spec.get("nodeName"):
            yield pod.found("spec.nodeName", "must not be set")
        for number, toleration in enumerate(items(pod.spec, "tolerations")):
            if not toleration.get("key") and toleration.get("operator") == "Exists":
                yield pod.found(f"spec.tolerations[{number}]", "bears everything")


@invariant("More hashing threads than cores, or a pool beyond what a Postgres core bears, only adds latency.")
def pools_fit_their_cores(rendering: Rendering) -> Iterator[Finding]:
    for container in ours(rendering):
        settings = readable_settings(container)
        if settings is None or command_of(container)[0] not in LASTING_COMMANDS:
            continue
        if not 2 <= settings.database_pool_size <= 32:
            yield container.found("env", "DATABASE_POOL_SIZE must be 2 to 32: a pooler stands behind it")
        if settings.environment == "production" and not 32 <= settings.admission_limit <= 2000:
            yield container.found("env", "ADMISSION_LIMIT must be 32 to 2000")
