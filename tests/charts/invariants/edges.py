"""Which edges a component needs, and that it has them: DNS, databases, cache; as its siblings, and as both ends say."""

from collections.abc import Iterator
from itertools import product

from tests.charts.invariants.application import LASTING_COMMANDS, command_of, services_of
from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.network import examples, fenced, governed, policies_of
from tests.charts.invariants.objects import Finding, Object, Pod, Rendering, dig, items, name_of
from tests.charts.invariants.policies import (
    End,
    end_of,
    is_let_through,
    peers_of,
    rules_of,
)

DNS = 53
# Postgres, PgBouncer, Redis and its sentinels.
DATA_PORTS = {5432, 6379, 6432, 26379}
# Whom a rule for these pods means, by the labels that it asks for, and where they listen.
LISTENS = {"cnpg.io/cluster": {5432, 8000}, "cnpg.io/poolerName": {5432}, "k8s-app": {DNS}}


@invariant("Without DNS no address means anything; an answer that is too long comes by TCP.")
def everybody_asks_dns(rendering: Rendering) -> Iterator[Finding]:
    for pod in governed(rendering):
        if not policies_of(rendering).governing(pod, "Egress"):
            continue
        asked = {
            port.get("protocol", "TCP")
            for rule in rules_of(policies_of(rendering), pod, "Egress")
            for port in items(rule, "ports")
            if port.get("port") in (DNS, 5353, "dns", "dns-tcp")
        }
        if asked != {"UDP", "TCP"}:
            yield pod.found("metadata", "must reach DNS by UDP and TCP")


def _outlets(rendering: Rendering, pod: Pod) -> set[tuple[str, object]]:
    return {
        (str(peer), port.get("port"))
        for rule in rules_of(policies_of(rendering), pod, "Egress")
        for peer in peers_of(rule, "Egress")
        for port in items(rule, "ports")
        if port.get("protocol", "TCP") == "TCP" and port.get("port") not in (DNS, 5353, "dns", "dns-tcp")
    }


def _inlets(rendering: Rendering, pod: Pod, port: str) -> set[tuple[str, object]]:
    number = end_of(pod).ports.get(port)
    return {
        (str(peer), one.get("port"))
        for rule in rules_of(policies_of(rendering), pod, "Ingress")
        for peer in peers_of(rule, "Ingress")
        for one in items(rule, "ports")
        if one.get("port") in (port, number)
    }


@invariant("Whoever holds an address of a database or cache can reach one.")
def addresses_are_reached(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        words = command_of(pod.main)
        if not words or not policies_of(rendering).governing(pod, "Egress"):
            continue
        needed = 2 if words[0] in LASTING_COMMANDS else int(words[0] == "migrate")
        if len({port for _, port in _outlets(rendering, pod)}) < needed:
            yield pod.found("metadata", f"must reach {'database and cache' if needed == 2 else 'the database'}")


@invariant("A rule that means pods by a well-known label means the port on which these listen.")
def outlets_lead_to_listeners(rendering: Rendering) -> Iterator[Finding]:
    for pod in governed(rendering):
        for rule in rules_of(policies_of(rendering), pod, "Egress"):
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


@invariant("Where both ends are rendered, the one lets in what the other lets out for it.")
def both_ends_agree(rendering: Rendering) -> Iterator[Finding]:
    policies, pods = policies_of(rendering), [*rendering.pods, *rendering.operated]
    for pod, other in product([pod for pod in rendering.pods if command_of(pod.main)], pods):
        if other.namespace == pod.namespace:
            continue
        for port in end_of(other).ports.values():
            is_out = is_let_through(policies, pod, "Egress", end_of(other), port, "TCP")
            if is_out and not is_let_through(policies, other, "Ingress", end_of(pod), port, "TCP"):
                yield pod.found("metadata", f"may reach {name_of(other.owner)}, port {port}, and is not let in")


@invariant("Database and cache are for those that are named, not for whoever runs in the same namespace as they.")
def data_is_for_those_who_are_named(rendering: Rendering) -> Iterator[Finding]:
    for pod in fenced(rendering, "Ingress"):
        ports = set(end_of(pod).ports.values()) & DATA_PORTS
        for port in sorted(ports):
            spaces = {end.namespace for end in examples(rendering, pod, "Ingress", {port, *_names(pod, port)})}
            for space in sorted(spaces - {""}):
                nobody = End(namespace=space, labels={"app": "stranger"}, address="198.51.100.6")
                if is_let_through(policies_of(rendering), pod, "Ingress", nobody, port, "TCP"):
                    yield pod.found("metadata", f"anybody in {space} reaches port {port}")


def _names(pod: Pod, number: int) -> list[str]:
    return [name for name, port in end_of(pod).ports.items() if port == number]
