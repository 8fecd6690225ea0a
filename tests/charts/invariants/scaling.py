"""How many pods there are: decided by one, within bounds, never so few that one loss is an outage."""

from collections.abc import Iterator

from tests.charts.invariants.files import quantity
from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.leftout import BUDGET, SECOND_REPLICA, must_have
from tests.charts.invariants.objects import Finding, Object, Pod, Rendering, chosen, dig, items

# Above it a pod that starts comes too late; below it most of what is paid for is idle.
UTILISATION = (30, 85)
# Shrinking sooner than this flaps with every lull; Kubernetes' own default is five minutes.
LEAST_CALM_SECONDS = 120
# Growing waits for no calm: an evening's bookings come within minutes.
MOST_HESITATION_SECONDS = 60
MOST_PODS = 100


@invariant("Helm 4 fails an upgrade whose replicas an autoscaler owns; Helm 3 silently undoes the scaling.")
def replicas_have_one_owner(rendering: Rendering) -> Iterator[Finding]:
    for thing in rendering.of("Deployment", "StatefulSet"):
        is_scaled = bool(rendering.autoscaler_of(thing))
        if is_scaled and dig(thing, "spec.replicas") is not None:
            yield (thing, "spec.replicas", "belongs to the autoscaler")
        if not is_scaled and not isinstance(dig(thing, "spec.replicas"), int):
            yield (thing, "spec.replicas", "must be a number where nobody scales")


@invariant("In production one pod may be lost at any time, with nobody noticing.")
def there_are_two_of_each(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.lasting:
        if must_have(rendering, pod, SECOND_REPLICA) and rendering.fewest(pod.owner) < 2:
            yield (pod.owner, "spec.replicas", f"may be scaled to {rendering.fewest(pod.owner)}; two are the least")
        if rendering.fewest(pod.owner) < 1:
            yield (pod.owner, "spec.replicas", "may be scaled to nothing")


@invariant("Bounds that contradict one another, or that no database could bear, are refused late or felt later.")
def autoscalers_have_bounds(rendering: Rendering) -> Iterator[Finding]:
    for scaler in rendering.of("HorizontalPodAutoscaler", "ScaledObject"):
        low, high = (
            ("minReplicas", "maxReplicas")
            if scaler["kind"] != "ScaledObject"
            else ("minReplicaCount", "maxReplicaCount")
        )
        fewest, most = dig(scaler, f"spec.{low}"), dig(scaler, f"spec.{high}")
        if not isinstance(fewest, int) or not isinstance(most, int) or not 1 <= fewest <= most <= MOST_PODS:
            yield (scaler, f"spec.{high}", f"{fewest} to {most}: must be 1 to {MOST_PODS}, in order")
        if dig(scaler, "spec.idleReplicaCount") is not None:
            yield (scaler, "spec.idleReplicaCount", "must not be set: nobody is ever idle")
        annotations = dig(scaler, "metadata.annotations", {})
        if any(key.startswith("autoscaling.keda.sh/paused") for key in annotations):
            yield (scaler, "metadata.annotations", "must not be paused")


@invariant(
    "Growth must come at once and in leaps, shrinking slowly: the defaults take half of the pods away in a lull."
)
def autoscalers_grow_fast_and_shrink_slowly(rendering: Rendering) -> Iterator[Finding]:
    for scaler in rendering.of("HorizontalPodAutoscaler", "ScaledObject"):
        path = "spec.behavior"
        if scaler["kind"] == "ScaledObject":
            path = "spec.advanced.horizontalPodAutoscalerConfig.behavior"
        behaviour = dig(scaler, path, {})
        for way in ("scaleUp", "scaleDown"):
            yield from _judged(scaler, f"{path}.{way}", behaviour.get(way) or {}, grows=way == "scaleUp")


def _judged(scaler: Object, path: str, rules: Object, *, grows: bool) -> Iterator[Finding]:
    policies = items(rules, "policies")
    if rules.get("selectPolicy", "Max") not in ("Max", "Min") or not policies:
        yield (scaler, f"{path}.policies", "must be there, and not switched off")
    calm = rules.get("stabilizationWindowSeconds")
    if grows and (not isinstance(calm, int) or not 0 <= calm <= MOST_HESITATION_SECONDS):
        yield (scaler, f"{path}.stabilizationWindowSeconds", f"must be at most {MOST_HESITATION_SECONDS}")
    if not grows and (not isinstance(calm, int) or not LEAST_CALM_SECONDS <= calm <= 3600):
        yield (scaler, f"{path}.stabilizationWindowSeconds", f"must be {LEAST_CALM_SECONDS} to 3600")
    for number, policy in enumerate(policies):
        value, period = policy.get("value", 0), policy.get("periodSeconds", 0)
        if policy.get("type") not in ("Pods", "Percent") or value < 1 or not 1 <= period <= 1800:
            yield (scaler, f"{path}.policies[{number}]", f"{policy} is no pace")
        elif not grows and policy["type"] == "Percent" and value * 60 / period > 50:
            yield (scaler, f"{path}.policies[{number}]", "takes more than half away within a minute")
        elif grows and policy["type"] == "Percent" and value * 60 / period < 50:
            yield (scaler, f"{path}.policies[{number}]", "takes more than two minutes to double")


@invariant("A share of a request that is not there is unknown, and what is unknown never scales.")
def autoscalers_measure_what_is_there(rendering: Rendering) -> Iterator[Finding]:
    for scaler in rendering.of("HorizontalPodAutoscaler"):
        if not items(scaler, "spec.metrics"):
            yield (scaler, "spec.metrics", "must be there")
        for number, metric in enumerate(items(scaler, "spec.metrics")):
            path = f"spec.metrics[{number}]"
            kind = str(metric.get("type"))
            source = metric.get(kind[:1].lower() + kind[1:])
            if not source:
                yield (scaler, path, f"says {kind} and has none")
            elif kind in ("Resource", "ContainerResource"):
                yield from _container(rendering, scaler, path, kind, source)
                yield from _resource(rendering, scaler, path, source)
            elif not dig(source, "metric.name") or not _has_target(source):
                yield (scaler, path, "needs a metric and a target above 0")


def _container(rendering: Rendering, scaler: Object, path: str, kind: str, source: Object) -> Iterator[Finding]:
    for pod in rendering.lasting:
        names = {container.name for container in pod.containers}
        if (
            kind == "ContainerResource"
            and scaler in rendering.autoscaler_of(pod.owner)
            and source.get("container") not in names
        ):
            yield (scaler, f"{path}.containerResource.container", f"{source.get('container')} is not there")


def _has_target(source: Object) -> bool:
    target = dig(source, "target", {})
    values = [target[name] for name in ("value", "averageValue", "averageUtilization") if target.get(name)]
    return bool(values) and all(quantity(value) > 0 for value in values)


def _resource(rendering: Rendering, scaler: Object, path: str, source: Object) -> Iterator[Finding]:
    kind, share = dig(source, "target.type"), dig(source, "target.averageUtilization", 0)
    if kind not in ("Utilization", "AverageValue"):
        yield (scaler, f"{path}.resource.target.type", "must be Utilization or AverageValue")
    elif kind == "AverageValue" and not _has_target(source):
        yield (scaler, f"{path}.resource.target", "must be above 0")
    elif kind == "Utilization" and not UTILISATION[0] <= share <= UTILISATION[1]:
        yield (scaler, f"{path}.resource.target.averageUtilization", f"must be {UTILISATION[0]} to {UTILISATION[1]}")
    for pod in rendering.lasting:
        measured = [one for one in pod.containers if one.path.startswith("spec.containers")]
        for container in measured if scaler in rendering.autoscaler_of(pod.owner) else []:
            if not dig(container.spec, f"resources.requests.{source.get('name')}"):
                yield container.found(f"resources.requests.{source.get('name')}", "is what the autoscaler measures by")


@invariant("KEDA without a trigger scales nothing.")
def keda_has_triggers(rendering: Rendering) -> Iterator[Finding]:
    for scaler in rendering.of("ScaledObject"):
        if not items(scaler, "spec.triggers"):
            yield (scaler, "spec.triggers", "must be there")
        for number, trigger in enumerate(items(scaler, "spec.triggers")):
            yield from _trigger(scaler, f"spec.triggers[{number}]", trigger)


def _trigger(scaler: Object, path: str, trigger: Object) -> Iterator[Finding]:
    if not trigger.get("type") or not trigger.get("metadata"):
        yield (scaler, path, "needs type and metadata")
    if trigger.get("type") not in ("cpu", "memory"):
        return
    share = str(dig(trigger, "metadata.value", ""))
    if trigger.get("metricType") not in ("Utilization", "AverageValue"):
        yield (scaler, f"{path}.metricType", "must be Utilization or AverageValue")
    elif trigger["metricType"] == "Utilization" and not (
        share.isdigit() and UTILISATION[0] <= int(share) <= UTILISATION[1]
    ):
        yield (scaler, f"{path}.metadata.value", f"must be {UTILISATION[0]} to {UTILISATION[1]}")


@invariant("KEDA that looks seldom, or that forgets too soon, is late or restless.")
def keda_looks_often(rendering: Rendering) -> Iterator[Finding]:
    for scaler in rendering.of("ScaledObject"):
        for field, assumed, least, most in (("pollingInterval", 30, 1, 60), ("cooldownPeriod", 300, 30, 3600)):
            if not least <= int(dig(scaler, f"spec.{field}", assumed)) <= most:
                yield (scaler, f"spec.{field}", f"must be {least} to {most}")


def _budgets(rendering: Rendering, pod: Pod) -> list[Object]:
    return [
        budget
        for budget in rendering.of("PodDisruptionBudget")
        if pod in chosen(dig(budget, "spec.selector"), rendering.pods, dig(budget, "metadata.namespace", ""))
    ]


@invariant("Without a budget, two nodes that are drained at once take both pods.")
def evictions_are_rationed(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.lasting:
        count = len(_budgets(rendering, pod))
        if count > 1:
            yield (pod.owner, "metadata", f"has {count} disruption budgets: no eviction is possible")
        if not count and rendering.fewest(pod.owner) > 1 and must_have(rendering, pod, BUDGET):
            yield (pod.owner, "metadata", "has no disruption budget")


@invariant("A budget that allows no eviction stops every drain of a node, and whoever waits for it.")
def budgets_let_drains_pass(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.lasting:
        fewest = rendering.fewest(pod.owner)
        for budget in _budgets(rendering, pod):
            allowed, kept = dig(budget, "spec.maxUnavailable"), dig(budget, "spec.minAvailable")
            if kept is not None or allowed is None:
                yield (budget, "spec", "must have maxUnavailable, and no minAvailable, which blocks when pods are few")
                continue
            number = _count(allowed, fewest)
            if number < 1:
                yield (budget, "spec.maxUnavailable", f"{allowed} of {fewest} is nothing: must be at least 1")
            if fewest > 1 and number >= fewest:
                yield (budget, "spec.maxUnavailable", f"{allowed} of {fewest} is everything")
            if dig(budget, "spec.unhealthyPodEvictionPolicy", "IfHealthyBudget") != "AlwaysAllow":
                yield (
                    budget,
                    "spec.unhealthyPodEvictionPolicy",
                    "must be AlwaysAllow: a pod that never gets ready blocks",
                )


def _count(value: object, fewest: int) -> int:
    text = str(value)
    # As Kubernetes does: rounded up.
    return -(-int(text.removesuffix("%")) * fewest // 100) if text.endswith("%") else int(text)
