"""Who may talk to whom: every edge that a component needs, and no other, in both directions.

The needed edges follow from what a container does (application.py): whoever serves is reached by a gateway, whoever has
a database's or cache's address reaches it, everybody asks DNS. Judged by evaluating the policies, not by their text.
"""

from collections.abc import Iterator

from tests.charts.invariants.application import LASTING_COMMANDS, command_of, services_of
from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.leftout import NETWORK_POLICY, must_have
from tests.charts.invariants.objects import Finding, Object, Pod, Rendering, called, dig, is_test, items, name_of
from tests.charts.invariants.policies import (
    Direction,
    End,
    end_of,
    example_of,
    governing,
    is_let_through,
    peers_of,
    rules_of,
)

DNS = 53
# Nobody whom anything of ours has to do with.
STRANGERS = (
    End(namespace="elsewhere", labels={"app": "stranger"}, address="100.100.9.9", name="a pod elsewhere"),
    End(namespace="kube-system", labels={"app": "stranger"}, address="100.100.9.8", name="a pod in kube-system"),
    End(address="203.0.113.10", name="the internet"),
    End(address="2001:db8::10", name="the internet (IPv6)"),
    End(address="169.254.169.254", name="the cloud's metadata"),
)
# Where strangers could be of interest, and a port that nobody has thought of.
STRANGE_PORTS = (22, 53, 80, 443, 3000, 3306, 4317, 5432, 6379, 6443, 8000, 8080, 9000, 10250, 31337)
# Backups go to an object store, wherever it is; its address is none that a policy could name.
TO_ANYBODY = {"instance": {443}}
# Whom a rule for these pods means, by the labels that it asks for, and where they listen.
LISTENS = {"cnpg.io/cluster": {5432, 8000}, "cnpg.io/poolerName": {5432}, "k8s-app": {DNS}}


def _policies(rendering: Rendering) -> list[Object]:
    return rendering.of("NetworkPolicy")


def _governed(rendering: Rendering) -> list[Pod]:
    """Give the pods that must be under policies, or that are though they need not be."""
    return [
        pod
        for pod in [*rendering.pods, *rendering.operated]
        if _policies(rendering) or must_have(rendering, pod, NETWORK_POLICY)
    ]


def _is_loose(policy: Object) -> bool:
    return bool(items(policy, "spec.ingress") or items(policy, "spec.egress"))


@invariant("What nobody has allowed is denied, in both directions, also to a pod whose own policy was forgotten.")
def denial_is_the_default(rendering: Rendering) -> Iterator[Finding]:
    for pod in _governed(rendering):
        if not must_have(rendering, pod, NETWORK_POLICY):
            continue
        for direction in ("Ingress", "Egress"):
            if all(_is_loose(policy) for policy in governing(_policies(rendering), pod, direction)):
                yield pod.found("metadata", f"no policy denies {direction} by default")


@invariant("A policy that does not say its directions leaves one of them open.")
def policies_say_both_directions(rendering: Rendering) -> Iterator[Finding]:
    for policy in _policies(rendering):
        if set(items(policy, "spec.policyTypes")) != {"Ingress", "Egress"}:
            yield (policy, "spec.policyTypes", "must be [Ingress, Egress]")


@invariant("A rule without peers is about everybody, one without ports about every port.")
def rules_name_peers_and_ports(rendering: Rendering) -> Iterator[Finding]:
    for policy in _policies(rendering):
        for direction, field in (("Ingress", "ingress"), ("Egress", "egress")):
            for number, rule in enumerate(items(policy, f"spec.{field}")):
                path = f"spec.{field}[{number}]"
                if not peers_of(rule, direction):  # type: ignore[arg-type]  # the two literals
                    yield (policy, path, "is about everybody")
                if not all(peers_of(rule, direction)):  # type: ignore[arg-type]  # the two literals
                    yield (policy, path, "has a peer that is everybody or nobody")
                if not items(rule, "ports") or any(not port.get("port") for port in items(rule, "ports")):
                    yield (policy, path, "is about every port")
                if any("endPort" in port for port in items(rule, "ports")):
                    yield (policy, path, "is about a range of ports")


@invariant("A rule about a port that the pod does not have is a mistake: the port that was meant is closed.")
def rules_are_about_open_ports(rendering: Rendering) -> Iterator[Finding]:
    for pod in _governed(rendering):
        there = end_of(pod).ports
        for rule in rules_of(_policies(rendering), pod, "Ingress"):
            for port in items(rule, "ports"):
                if port.get("port") not in there and port.get("port") not in there.values():
                    yield pod.found("metadata", f"a policy opens {port.get('port')}, which it does not have")
                if port.get("protocol", "TCP") != "TCP":
                    yield pod.found("metadata", f"a policy opens {port.get('port')} for {port['protocol']}")


@invariant("Nobody gets in who has no business with the pod.")
def strangers_are_kept_out(rendering: Rendering) -> Iterator[Finding]:
    for pod in _governed(rendering):
        if not must_have(rendering, pod, NETWORK_POLICY):
            continue
        neighbour = End(namespace=pod.namespace, labels={"app": "stranger"}, address="100.100.9.7", name="a neighbour")
        for stranger in (*STRANGERS, neighbour):
            for port in (*end_of(pod).ports.values(), *STRANGE_PORTS):
                if is_let_through(_policies(rendering), pod, "Ingress", stranger, port, "TCP"):
                    yield pod.found("metadata", f"{stranger.name} reaches port {port}")
                    break


@invariant("A pod that is taken over reaches nothing but what it needs: no way to carry data out.")
def pods_reach_no_strangers(rendering: Rendering) -> Iterator[Finding]:
    for pod in _governed(rendering):
        if not must_have(rendering, pod, NETWORK_POLICY):
            continue
        excused = TO_ANYBODY.get(pod.labels.get("cnpg.io/podRole", ""), set())
        neighbour = End(namespace=pod.namespace, labels={"app": "stranger"}, address="100.100.9.7", name="a neighbour")
        for stranger in (*STRANGERS, neighbour):
            for port in STRANGE_PORTS:
                for protocol in ("TCP", "UDP"):
                    if port not in excused and is_let_through(
                        _policies(rendering), pod, "Egress", stranger, port, protocol
                    ):
                        yield pod.found("metadata", f"reaches {stranger.name}, port {port}/{protocol}")


@invariant("One component of ours has no business with another: they meet in the database.")
def components_do_not_talk(rendering: Rendering) -> Iterator[Finding]:
    pods = [pod for pod in rendering.pods if command_of(pod.main) and pod.is_lasting]
    for pod in pods:
        for other in pods:
            for port in end_of(other).ports.values():
                if not governing(_policies(rendering), pod, "Egress"):
                    continue
                if is_let_through(_policies(rendering), pod, "Egress", end_of(other), port, "TCP") or is_let_through(
                    _policies(rendering), other, "Ingress", end_of(pod), port, "TCP"
                ):
                    yield pod.found("metadata", f"may talk to {called(other.owner)}, port {port}")


@invariant("Requests and management are different people's: one rule for both gives metrics to whoever sends requests.")
def management_is_for_monitoring(rendering: Rendering) -> Iterator[Finding]:
    for pod in _governed(rendering):
        there = end_of(pod).ports
        if not {"http", "management"} <= set(there):
            continue
        for rule in rules_of(_policies(rendering), pod, "Ingress"):
            opened = {port.get("port") for port in items(rule, "ports")}
            if opened & {"http", there["http"]} and opened & {"management", there["management"]}:
                yield pod.found("metadata", "one rule opens http and management")


@invariant("Whoever serves is reached by a gateway, and whoever is scraped by who scrapes.")
def servers_are_reached(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.lasting:
        if not governing(_policies(rendering), pod, "Ingress") or not command_of(pod.main):
            continue
        there = end_of(pod).ports
        for name in ("http", "management") if services_of(command_of(pod.main)) else ("management",):
            sources = [
                end
                for end in _examples(rendering, pod, "Ingress", {name, there.get(name)})
                if not _is_test_pod(rendering, end)
            ]
            if not sources and (name == "http" or _is_scraped(rendering)):
                yield pod.found("metadata", f"nobody reaches {name}")


def _examples(rendering: Rendering, pod: Pod, direction: Direction, ports: set[object]) -> list[End]:
    found = [
        example_of(peer, pod.namespace)
        for rule in rules_of(_policies(rendering), pod, direction)
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
                is_open = not governing(_policies(rendering), pod, "Ingress")
                if is_open or not command_of(pod.main) or not services_of(command_of(pod.main)):
                    continue
                sources = _examples(rendering, pod, "Ingress", {"http", end_of(pod).ports.get("http")})
                # The gateway's pods may run elsewhere than its object, in the controller's own namespace.
                if not any(end.namespace not in ("", pod.namespace) or end.address for end in sources):
                    yield pod.found(
                        "metadata", f"nobody of another namespace is let in, though {namespace} has its gateway"
                    )


@invariant("Without DNS no address means anything; an answer that is too long comes by TCP.")
def everybody_asks_dns(rendering: Rendering) -> Iterator[Finding]:
    for pod in _governed(rendering):
        if not governing(_policies(rendering), pod, "Egress"):
            continue
        asked = {
            port.get("protocol", "TCP")
            for rule in rules_of(_policies(rendering), pod, "Egress")
            for port in items(rule, "ports")
            if port.get("port") in (DNS, 5353, "dns", "dns-tcp")
        }
        if asked != {"UDP", "TCP"}:
            yield pod.found("metadata", "must reach DNS by UDP and TCP")


def _outlets(rendering: Rendering, pod: Pod) -> set[tuple[str, object]]:
    return {
        (str(peer), port.get("port"))
        for rule in rules_of(_policies(rendering), pod, "Egress")
        for peer in peers_of(rule, "Egress")
        for port in items(rule, "ports")
        if port.get("protocol", "TCP") == "TCP" and port.get("port") not in (DNS, 5353, "dns", "dns-tcp")
    }


def _inlets(rendering: Rendering, pod: Pod, port: str) -> set[tuple[str, object]]:
    number = end_of(pod).ports.get(port)
    return {
        (str(peer), one.get("port"))
        for rule in rules_of(_policies(rendering), pod, "Ingress")
        for peer in peers_of(rule, "Ingress")
        for one in items(rule, "ports")
        if one.get("port") in (port, number)
    }


@invariant("Whoever holds an address of a database or cache can reach one.")
def addresses_are_reached(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        words = command_of(pod.main)
        if not words or not governing(_policies(rendering), pod, "Egress"):
            continue
        needed = 2 if words[0] in LASTING_COMMANDS else int(words[0] == "migrate")
        if len({port for _, port in _outlets(rendering, pod)}) < needed:
            yield pod.found("metadata", f"must reach {'database and cache' if needed == 2 else 'the database'}")


@invariant("A rule that means pods by a well-known label means the port on which these listen.")
def outlets_lead_to_listeners(rendering: Rendering) -> Iterator[Finding]:
    for pod in _governed(rendering):
        for rule in rules_of(_policies(rendering), pod, "Egress"):
            ports = {port.get("port") for port in items(rule, "ports")}
            for peer in peers_of(rule, "Egress"):
                for label, listens in LISTENS.items():
                    if _mentions(peer, label) and not ports <= listens | {"dns", "dns-tcp", 5353}:
                        yield pod.found("metadata", f"a policy means {label} on {ports - listens}")


def _mentions(peer: Object, label: str) -> bool:
    wanted = dig(peer, "podSelector.matchLabels", {})
    rules = [rule for rule in items(peer, "podSelector.matchExpressions") if rule.get("operator") in ("In", "Exists")]
    return label in wanted or label in {rule.get("key") for rule in rules}


@invariant("What all other components reach, and are reached by, one component alone was not meant to go without.")
def components_have_the_same_edges(rendering: Rendering) -> Iterator[Finding]:
    pods = [pod for pod in rendering.lasting if command_of(pod.main)]
    servers = [pod for pod in pods if services_of(command_of(pod.main))]
    kinds = [
        (pods, "reach", {id(pod): _outlets(rendering, pod) for pod in pods}),
        (servers, "be reached by", {id(pod): _inlets(rendering, pod, "http") for pod in servers}),
        (pods, "be scraped by", {id(pod): _inlets(rendering, pod, "management") for pod in pods}),
    ]
    for among, verb, edges in kinds:
        for pod in among:
            others = [edges[id(other)] for other in among if other is not pod]
            if len(others) >= 2:
                for peer, port in sorted(set.intersection(*others) - edges[id(pod)], key=str):
                    yield pod.found("metadata", f"does not {verb} {peer}, port {port}, as all others")


@invariant("Where both ends are rendered, both let the connection pass.")
def both_ends_agree(rendering: Rendering) -> Iterator[Finding]:
    pods = [*rendering.pods, *rendering.operated]
    for pod in rendering.pods:
        if not command_of(pod.main):
            continue
        for other in pods:
            if other.namespace == pod.namespace:
                continue
            for port in end_of(other).ports.values():
                out = is_let_through(_policies(rendering), pod, "Egress", end_of(other), port, "TCP")
                is_in = is_let_through(_policies(rendering), other, "Ingress", end_of(pod), port, "TCP")
                if out != is_in:
                    who = "itself" if is_in else name_of(other.owner)
                    yield pod.found("metadata", f"to {name_of(other.owner)}, port {port}: denied by {who}")
