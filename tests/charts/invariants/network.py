"""Who may talk to whom: every edge that a component needs, and no other, in both directions.

The needed edges follow from what a container does (application.py): whoever serves is reached by a gateway, whoever has
a database's or cache's address reaches it, everybody asks DNS. Judged by evaluating the policies, not by their text.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

from tests.charts.invariants.application import command_of, services_of
from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.leftout import EDGES, NETWORK_POLICY, left_out, must_have
from tests.charts.invariants.objects import Finding, Object, Pod, Rendering, called, dig, is_test, items
from tests.charts.invariants.policies import (
    Direction,
    End,
    Policies,
    end_of,
    example_of,
    is_let_through,
    peers_of,
    rules_of,
)

# Nobody whom anything of ours has to do with.
STRANGERS = (
    End(namespace="elsewhere", labels={"app": "stranger"}, address="198.51.100.9", name="a pod elsewhere"),
    End(namespace="kube-system", labels={"app": "stranger"}, address="198.51.100.8", name="a pod in kube-system"),
    End(address="203.0.113.10", name="the internet"),
    End(address="2001:db8::10", name="the internet (IPv6)"),
    End(address="169.254.169.254", name="the cloud's metadata"),
)
# Where strangers could be of interest, and a port that nobody has thought of.
STRANGE_PORTS = (22, 53, 80, 443, 3000, 3306, 4317, 5432, 6379, 6443, 8000, 8080, 9000, 10250, 31337)
# The cluster's own resolver; OpenShift's listens on 5353.
DNS_PORTS = (53, 5353, "dns", "dns-tcp")
# Backups go to an object store, wherever it is; its address is none that a policy could name.
TO_ANYBODY = {"instance": {443}}


def policies_of(rendering: Rendering) -> Policies:
    """Give the policies of a rendering."""
    found: Policies = rendering.worked_out("policies", lambda: Policies(rendering.of("NetworkPolicy")))
    return found


def governed(rendering: Rendering) -> list[Pod]:
    """Give the pods that must be under policies, or that are though they need not be."""
    return [
        pod
        for pod in [*rendering.pods, *rendering.operated]
        if policies_of(rendering).objects or must_have(rendering, pod, NETWORK_POLICY)
    ]


def _is_loose(policy: Object) -> bool:
    return bool(items(policy, "spec.ingress") or items(policy, "spec.egress"))


@invariant("What nobody has allowed is denied, in both directions, also to a pod whose own policy was forgotten.")
def denial_is_the_default(rendering: Rendering) -> Iterator[Finding]:
    for pod in governed(rendering):
        if not must_have(rendering, pod, NETWORK_POLICY):
            continue
        for direction in ("Ingress", "Egress"):
            if all(_is_loose(policy) for policy in policies_of(rendering).governing(pod, direction)):
                yield pod.found("metadata", f"no policy denies {direction} by default")


@invariant("A policy that does not say its directions leaves one of them open.")
def policies_say_both_directions(rendering: Rendering) -> Iterator[Finding]:
    for policy in policies_of(rendering).objects:
        if set(items(policy, "spec.policyTypes")) != {"Ingress", "Egress"}:
            yield (policy, "spec.policyTypes", "must be [Ingress, Egress]")


@invariant("A rule without peers is about everybody, one without ports about every port.")
def rules_name_peers_and_ports(rendering: Rendering) -> Iterator[Finding]:
    for policy in policies_of(rendering).objects:
        for path, peers, ports in _rules(policy):
            if not peers or not all(peers) or not all(example_of(peer, "own") for peer in peers):
                yield (policy, path, "is about everybody, or nobody")
            if any(_is_vague(peer, ports) for peer in peers):
                yield (policy, path, "has a peer in any namespace, or an empty podSelector beside a namespace")
            if not ports or any(not port.get("port") for port in ports):
                yield (policy, path, "is about every port")
            elif any(port.get("endPort", port["port"]) != port["port"] for port in ports):
                yield (policy, path, "is about a range of ports")


def _rules(policy: Object) -> Iterator[tuple[str, list[Object], list[Object]]]:
    for field, whom in (("ingress", "from"), ("egress", "to")):
        for number, rule in enumerate(items(policy, f"spec.{field}")):
            yield f"spec.{field}[{number}]", items(rule, whom), items(rule, "ports")


def _is_vague(peer: Object, ports: list[Object]) -> bool:
    is_dns = all(port.get("port") in DNS_PORTS for port in ports)
    is_anywhere = "namespaceSelector" in peer and not peer["namespaceSelector"]
    return (is_anywhere and not is_dns) or ("namespaceSelector" in peer and _names_nobody(peer.get("podSelector", 0)))


def _names_nobody(selector: Any) -> bool:  # Any: absent, null, or a selector
    if not isinstance(selector, dict):
        return selector is None
    rules = [rule["operator"] in ("In", "Exists") for rule in selector.get("matchExpressions") or []]
    return not selector.get("matchLabels") and not any(rules)


@invariant("A rule about a port that the pod does not have is a mistake: the port that was meant is closed.")
def rules_are_about_open_ports(rendering: Rendering) -> Iterator[Finding]:
    for pod in governed(rendering):
        there = end_of(pod).ports
        for rule in rules_of(policies_of(rendering), pod, "Ingress"):
            for port in items(rule, "ports"):
                if port.get("port") not in there and port.get("port") not in there.values():
                    yield pod.found("metadata", f"a policy opens {port.get('port')}, which it does not have")
                if port.get("protocol", "TCP") != "TCP":
                    yield pod.found("metadata", f"a policy opens {port.get('port')} for {port['protocol']}")


@invariant("Nobody gets in who has no business with the pod.")
def strangers_are_kept_out(rendering: Rendering) -> Iterator[Finding]:
    for pod in fenced(rendering, "Ingress"):
        for stranger in (*STRANGERS, _neighbour(pod)):
            for port in (*end_of(pod).ports.values(), *STRANGE_PORTS):
                if is_let_through(policies_of(rendering), pod, "Ingress", stranger, port, "TCP"):
                    yield pod.found("metadata", f"{stranger.name} reaches port {port}")
                    break


def fenced(rendering: Rendering, direction: Direction) -> list[Pod]:
    """Give the pods of which nobody has said that they may have more edges than the others."""
    return [
        pod
        for pod in governed(rendering)
        if policies_of(rendering).governing(pod, direction) and EDGES not in left_out(rendering, pod)
    ]


def _neighbour(pod: Pod) -> End:
    return End(namespace=pod.namespace, labels={"app": "stranger"}, address="198.51.100.7", name="a neighbour")


@invariant("A pod that is taken over reaches nothing but what it needs: no way to carry data out.")
def pods_reach_no_strangers(rendering: Rendering) -> Iterator[Finding]:
    for pod in fenced(rendering, "Egress"):
        excused = TO_ANYBODY.get(pod.labels.get("cnpg.io/podRole", ""), set())
        for stranger in (*STRANGERS, _neighbour(pod)):
            for port, protocol in product(STRANGE_PORTS, ("TCP", "UDP")):
                is_open = is_let_through(policies_of(rendering), pod, "Egress", stranger, port, protocol)
                if is_open and port not in excused:
                    yield pod.found("metadata", f"reaches {stranger.name}, port {port}/{protocol}")
                    break


@invariant("One component of ours has no business with another: they meet in the database.")
def components_do_not_talk(rendering: Rendering) -> Iterator[Finding]:
    policies = policies_of(rendering)
    senders = [pod for pod in fenced(rendering, "Egress") if pod.is_lasting and command_of(pod.main)]
    receivers = [pod for pod in fenced(rendering, "Ingress") if pod.is_lasting and command_of(pod.main)]
    for pod, other in product(senders, receivers):
        for port in end_of(other).ports.values():
            is_out = is_let_through(policies, pod, "Egress", end_of(other), port, "TCP")
            if is_out or is_let_through(policies, other, "Ingress", end_of(pod), port, "TCP"):
                yield pod.found("metadata", f"may talk to {called(other.owner)}, port {port}")


@invariant("Requests and management are different people's: one rule for both gives metrics to whoever sends requests.")
def management_is_for_monitoring(rendering: Rendering) -> Iterator[Finding]:
    for pod in governed(rendering):
        there = end_of(pod).ports
        if not {"http", "management"} <= set(there):
            continue
        for rule in rules_of(policies_of(rendering), pod, "Ingress"):
            opened = {port.get("port") for port in items(rule, "ports")}
            if opened & {"http", there["http"]} and opened & {"management", there["management"]}:
                yield pod.found("metadata", "one rule opens http and management")


@invariant("Whoever serves is reached by a gateway, and whoever is scraped by who scrapes.")
def servers_are_reached(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.lasting:
        if not policies_of(rendering).governing(pod, "Ingress") or not command_of(pod.main):
            continue
        there = end_of(pod).ports
        for name in ("http", "management") if services_of(command_of(pod.main)) else ("management",):
            sources = [
                end
                for end in examples(rendering, pod, "Ingress", {name, there.get(name)})
                if not _is_test_pod(rendering, end)
            ]
            if not sources and (name == "http" or _is_scraped(rendering)):
                yield pod.found("metadata", f"nobody reaches {name}")


def examples(rendering: Rendering, pod: Pod, direction: Direction, ports: set[object]) -> list[End]:
    """Make somebody for each peer that the rules for one of these ports mean."""
    found = [
        example_of(peer, pod.namespace)
        for rule in rules_of(policies_of(rendering), pod, direction)
        if ports & {port.get("port") for port in items(rule, "ports")}
        for peer in peers_of(rule, direction)
    ]
    return [end for end in found if end is not None]


def _is_test_pod(rendering: Rendering, end: End) -> bool:
    return any(
        is_test(pod.owner) and pod.namespace == end.namespace and dict(end.labels).items() <= pod.labels.items()
        for pod in rendering.pods
    )


def _is_scraped(rendering: Rendering) -> bool:
    return bool(rendering.of("ServiceMonitor", "PodMonitor"))


@invariant("A gateway that a route is attached to must be let in.")
def routes_are_let_in(rendering: Rendering) -> Iterator[Finding]:
    for route in rendering.of("HTTPRoute"):
        for parent in items(route, "spec.parentRefs"):
            namespace = parent.get("namespace", dig(route, "metadata.namespace", ""))
            for pod in rendering.lasting:
                is_open = not policies_of(rendering).governing(pod, "Ingress")
                if is_open or not command_of(pod.main) or not services_of(command_of(pod.main)):
                    continue
                sources = examples(rendering, pod, "Ingress", {"http", end_of(pod).ports.get("http")})
                # The gateway's pods may run elsewhere than its object, in the controller's own namespace.
                if not any(end.namespace not in ("", pod.namespace) or end.address for end in sources):
                    yield pod.found(
                        "metadata", f"nobody of another namespace is let in, though {namespace} has its gateway"
                    )
