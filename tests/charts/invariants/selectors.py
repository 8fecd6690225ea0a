"""Who selects whom: a selector that matches nothing fails in silence."""

from collections.abc import Iterator

from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.objects import Finding, Object, Rendering, called, chosen, dig, items, matches, name_of

# What stays the same in every release of a component. Everything else would make an upgrade impossible.
LASTING_LABELS = {f"app.kubernetes.io/{label}" for label in ("name", "instance", "component")}
RELEASE_LABELS = LASTING_LABELS - {"app.kubernetes.io/component"}


def _matched(rendering: Rendering, selector: Object | None, namespace: str) -> list[Object]:
    return [pod.owner for pod in chosen(selector, [*rendering.pods, *rendering.operated], namespace)]


@invariant("A workload's selector cannot be changed: a label that changes with the release ends upgrades.")
def selectors_never_change(rendering: Rendering) -> Iterator[Finding]:
    for thing in rendering.of("Deployment", "StatefulSet", "DaemonSet"):
        given = dig(thing, "spec.selector.matchLabels", {})
        if set(given) != LASTING_LABELS:
            yield (thing, "spec.selector.matchLabels", f"must be of {', '.join(sorted(LASTING_LABELS))}")
        if items(thing, "spec.selector.matchExpressions"):
            yield (thing, "spec.selector.matchExpressions", "must be empty")


@invariant("A workload that does not select its own pods is refused, or adopts somebody else's.")
def workloads_select_their_own_pods(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.lasting:
        if not matches(dig(pod.owner, "spec.selector"), pod.labels):
            yield (pod.owner, "spec.selector", "does not match the template's labels")


@invariant("Two workloads with one selector fight over the pods.")
def workloads_do_not_share_pods(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.lasting:
        for other in _matched(rendering, dig(pod.owner, "spec.selector"), pod.namespace):
            if other is not pod.owner:
                yield (pod.owner, "spec.selector", f"also matches the pods of {called(other)}")


@invariant("A Service without pods answers nobody; one with two kinds of pods answers wrongly.")
def services_lead_to_one_workload(rendering: Rendering) -> Iterator[Finding]:
    for service in rendering.of("Service"):
        if service["spec"].get("type") == "ExternalName":
            continue
        selector = service["spec"].get("selector")
        matched = _matched(
            rendering, {"matchLabels": selector} if selector else None, service["metadata"].get("namespace", "")
        )
        lasting = [thing for thing in matched if thing["kind"] != "Job"]
        if len(lasting) != 1 or len(matched) != len(lasting):
            names = ", ".join(called(thing) for thing in matched) or "nobody"
            yield (service, "spec.selector", f"must lead to one workload, leads to {names}")


@invariant("A disruption budget that counts other pods than it protects protects none.")
def budgets_count_one_workload(rendering: Rendering) -> Iterator[Finding]:
    for budget in rendering.of("PodDisruptionBudget"):
        matched = _matched(rendering, dig(budget, "spec.selector"), budget["metadata"].get("namespace", ""))
        if len(matched) != 1 or matched[0]["kind"] == "Job":
            yield (budget, "spec.selector", f"must match one workload's pods, matches {len(matched)}")


@invariant("An autoscaler without its target does nothing; two of one target fight.")
def autoscalers_have_one_target(rendering: Rendering) -> Iterator[Finding]:
    for scaler in rendering.of("HorizontalPodAutoscaler", "ScaledObject"):
        target = dig(scaler, "spec.scaleTargetRef", {})
        assumed = "apps/v1" if scaler["kind"] == "ScaledObject" else "v1"
        found = rendering.named(
            target.get("kind", "Deployment"), target.get("name", ""), scaler["metadata"].get("namespace", "")
        )
        if found is None:
            yield (scaler, "spec.scaleTargetRef", f"{target.get('kind')} {target.get('name')} is not there")
        elif (target.get("apiVersion") or assumed) != found["apiVersion"]:
            yield (scaler, "spec.scaleTargetRef.apiVersion", f"must be {found['apiVersion']}")
        elif len(rendering.autoscaler_of(found)) > 1:
            yield (scaler, "spec.scaleTargetRef", f"{name_of(found)} has another autoscaler")


@invariant("A selector with fewer labels than the workload's own takes in what is added to the namespace one day.")
def selectors_are_complete(rendering: Rendering) -> Iterator[Finding]:
    for thing in rendering.of("Service", "PodDisruptionBudget", "NetworkPolicy"):
        path = {"Service": "spec.selector", "NetworkPolicy": "spec.podSelector.matchLabels"}.get(
            thing["kind"], "spec.selector.matchLabels"
        )
        used = set(dig(thing, path, {}))
        is_denial = thing["kind"] == "NetworkPolicy" and not items(thing, "spec.ingress") + items(thing, "spec.egress")
        is_ours = any(label.startswith("app.kubernetes.io/") for label in used)
        if is_ours and not used >= LASTING_LABELS and not (is_denial and used == RELEASE_LABELS):
            yield (thing, path, f"must have {', '.join(sorted(LASTING_LABELS))}")


@invariant("A rule for one component that reaches another one's pods gives them edges that they must not have.")
def rules_are_for_one_component(rendering: Rendering) -> Iterator[Finding]:
    for policy in rendering.of("NetworkPolicy"):
        if items(policy, "spec.ingress") or items(policy, "spec.egress"):
            matched = chosen(dig(policy, "spec.podSelector"), rendering.pods, policy["metadata"].get("namespace", ""))
            components = {pod.labels.get("app.kubernetes.io/component") for pod in matched}
            if len(components) > 1:
                yield (policy, "spec.podSelector", f"is about {len(components)} components")


@invariant("A policy that chooses no pod protects nobody, and nobody sees it.")
def policies_choose_pods(rendering: Rendering) -> Iterator[Finding]:
    for policy in rendering.of("NetworkPolicy"):
        selector = dig(policy, "spec.podSelector")
        if selector is None:
            yield (policy, "spec.podSelector", "must be there, be it empty")
        elif selector and not _matched(rendering, selector, policy["metadata"].get("namespace", "")):
            yield (policy, "spec.podSelector", "chooses no pod")


@invariant("A monitor that finds nothing raises no alarm: its absence is read as health.")
def monitors_find_their_targets(rendering: Rendering) -> Iterator[Finding]:
    for monitor in rendering.of("ServiceMonitor", "PodMonitor"):
        own = monitor["metadata"].get("namespace", "")
        spaces = set(items(monitor, "spec.namespaceSelector.matchNames")) or {own}
        selector = dig(monitor, "spec.selector")
        if not selector:
            yield (monitor, "spec.selector", "must choose something, and not everything")
            continue
        if monitor["kind"] == "PodMonitor":
            found = [pod for space in spaces for pod in _matched(rendering, selector, space)]
        else:
            found = [
                service
                for service in rendering.of("Service")
                if service["metadata"].get("namespace", "") in spaces
                and matches(selector, dig(service, "metadata.labels", {}))
            ]
        if not found:
            yield (monitor, "spec.selector", "finds nothing")


@invariant("Pods are spread against their own kind, or not at all.")
def spread_counts_own_pods(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.lasting:
        for number, rule in enumerate(items(pod.spec, "topologySpreadConstraints")):
            path, selector = f"spec.topologySpreadConstraints[{number}].labelSelector", rule.get("labelSelector")
            if not matches(selector, pod.labels) or set(dig(selector, "matchLabels", {})) != LASTING_LABELS:
                yield pod.found(path, "must match this workload's pods, by labels that never change")
            elif len(_matched(rendering, selector, pod.namespace)) > 1:
                yield pod.found(path, "also matches pods of others")
