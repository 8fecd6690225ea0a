"""Which edges a component needs, and that it has them: DNS, databases, cache; as its siblings, and as both ends say."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import product
from urllib.parse import urlsplit

from tests.charts.invariants.application import LASTING_COMMANDS, VISITING_COMMANDS, command_of, services_of
from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.network import DNS_PORTS, examples, fenced, governed, policies_of
from tests.charts.invariants.objects import Finding, Object, Pod, Rendering, chosen, dig, items, name_of
from tests.charts.invariants.policies import (
    End,
    end_of,
    is_let_through,
    peers_of,
    rules_of,
)
from tests.charts.invariants.ports import service_pods

# Postgres, PgBouncer, Redis and its sentinels.
DATA_PORTS = {5432, 6379, 6432, 26379}
# Whom a rule for these pods means, by the labels that it asks for, and where they listen.
LISTENS = {"cnpg.io/cluster": {5432, 8000}, "cnpg.io/poolerName": {5432}, "k8s-app": {53}}


@invariant("Without DNS no address means anything; an answer that is too long comes by TCP.")
def everybody_asks_dns(rendering: Rendering) -> Iterator[Finding]:
    for pod in governed(rendering):
        if not policies_of(rendering).governing(pod, "Egress"):
            continue
        asked = {
            port.get("protocol", "TCP")
            for rule in rules_of(policies_of(rendering), pod, "Egress")
            for port in items(rule, "ports")
            if port.get("port") in DNS_PORTS
        }
        if asked != {"UDP", "TCP"}:
            yield pod.found("metadata", "must reach DNS by UDP and TCP")


def _outlets(rendering: Rendering, pod: Pod) -> set[tuple[str, object]]:
    return {
        (str(peer), port.get("port"))
        for rule in rules_of(policies_of(rendering), pod, "Egress")
        for peer in peers_of(rule, "Egress")
        for port in items(rule, "ports")
        if port.get("protocol", "TCP") == "TCP" and port.get("port") not in DNS_PORTS
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


@invariant(
    "Whoever is told of a collector reaches its port; spans that are held up are lost, and only a counter says so."
)
def collectors_are_reached(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        for variable in items(pod.main.spec, "env"):
            if variable.get("name") != "OTEL_EXPORTER_OTLP_ENDPOINT" or not variable.get("value"):
                continue
            address = urlsplit(str(variable["value"]))
            port = address.port or {"http": 80, "https": 443}.get(address.scheme)
            is_fenced = bool(policies_of(rendering).governing(pod, "Egress"))
            if is_fenced and port not in {number for _, number in _outlets(rendering, pod)}:
                yield pod.found("metadata", f"does not reach port {port} of the collector")


@invariant("A rule that means pods by a well-known label means the port on which these listen.")
def outlets_lead_to_listeners(rendering: Rendering) -> Iterator[Finding]:
    for pod in governed(rendering):
        for rule in rules_of(policies_of(rendering), pod, "Egress"):
            ports = {port.get("port") for port in items(rule, "ports")}
            for peer in peers_of(rule, "Egress"):
                for label, listens in LISTENS.items():
                    if _mentions(peer, label) and not ports <= listens | set(DNS_PORTS[1:]):
                        yield pod.found("metadata", f"a policy means {label} on {ports - listens}")


def _mentions(peer: Object, label: str) -> bool:
    wanted = dig(peer, "podSelector.matchLabels", {})
    rules = [rule for rule in items(peer, "podSelector.matchExpressions") if rule.get("operator") in ("In", "Exists")]
    return label in wanted or label in {rule.get("key") for rule in rules}


@invariant(
    "The operator's servers and poolers are in one namespace; a rule that means them elsewhere, or all of it, is wrong."
)
def rules_find_the_database(rendering: Rendering) -> Iterator[Finding]:
    policies = rendering.of("NetworkPolicy")
    peers = [
        (policy, peer) for policy in policies for rule in items(policy, "spec.egress") for peer in rule.get("to", [])
    ]
    of_operator = [
        one for one in peers if _mentions(one[1], "cnpg.io/cluster") or _mentions(one[1], "cnpg.io/poolerName")
    ]
    spaces = Counter(str(_space(peer)) for policy, peer in of_operator)
    for policy, peer in of_operator:
        is_here = any(
            dig(one, "metadata.namespace") == dig(policy, "metadata.namespace") for one in rendering.of("Cluster")
        )
        if "namespaceSelector" not in peer and not is_here:
            yield (policy, "spec.egress", "means a database in its own namespace, where there is none")
        elif "namespaceSelector" in peer and str(_space(peer)) != spaces.most_common(1)[0][0]:
            yield (policy, "spec.egress", f"means a database in {_space(peer)}, the others do not")
    named = {str(_space(peer)) for _, peer in peers if "namespaceSelector" in peer and "podSelector" in peer}
    for policy, peer in peers:
        if "namespaceSelector" in peer and "podSelector" not in peer and str(_space(peer)) in named:
            yield (policy, "spec.egress", f"means all pods of {_space(peer)}, of which others mean some")


def _space(peer: Object) -> object:
    return dig(peer, "namespaceSelector.matchLabels", {}).get("kubernetes.io/metadata.name")


@invariant("What all other components reach, and are reached by, one component alone was not meant to go without.")
def components_have_the_same_edges(rendering: Rendering) -> Iterator[Finding]:
    everybody = [pod for pod in rendering.pods if command_of(pod.main)]
    pods = [pod for pod in everybody if pod.is_lasting and command_of(pod.main)[0] not in VISITING_COMMANDS]
    servers = [pod for pod in pods if services_of(command_of(pod.main))]
    kinds = [
        (everybody, "ask", {id(pod): _resolvers(rendering, pod) for pod in everybody}),
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


def _resolvers(rendering: Rendering, pod: Pod) -> set[tuple[str, object]]:
    return {
        (str(peer), port.get("protocol", "TCP"))
        for rule in rules_of(policies_of(rendering), pod, "Egress")
        for peer in peers_of(rule, "Egress")
        for port in items(rule, "ports")
        if port.get("port") in DNS_PORTS
    }


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


@invariant("Where the servers are rendered as well, whoever holds their address really gets there.")
def addresses_lead_to_servers(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        held = {str(variable.get("name")) for variable in items(pod.main.spec, "env")} & set(SERVERS)
        for name in sorted(held) if command_of(pod.main) else []:
            kind, port = SERVERS[name]
            there = [other for other in _servers(rendering, kind) if other.namespace != pod.namespace]
            if there and not any(_connects(rendering, pod, other, port) for other in there):
                yield pod.found("metadata", f"{name}: reaches none of {len(there)} {kind}s on port {port}")


# What an address of the environment leads to, and on which port.
SERVERS = {
    "DATABASE_URL": ("pooler", 5432),
    "AUDITOR_DATABASE_URL": ("pooler", 5432),
    "WORKER_DATABASE_URL": ("pooler", 5432),
    "OWNER_DATABASE_URL": ("instance", 5432),
    "REDIS_URL": ("cache", 6379),
}


def _servers(rendering: Rendering, kind: str) -> list[Pod]:
    if kind == "cache":
        return [pod for pod in rendering.lasting if pod.labels.get("app.kubernetes.io/component") == "cache"]
    return [pod for pod in rendering.operated if pod.labels.get("cnpg.io/podRole") == kind]


def _connects(rendering: Rendering, pod: Pod, other: Pod, port: int) -> bool:
    policies = policies_of(rendering)
    is_out = is_let_through(policies, pod, "Egress", end_of(other), port, "TCP")
    return is_out and is_let_through(policies, other, "Ingress", end_of(pod), port, "TCP")


@invariant("What a pod is told to call by a Service's name, it can call.")
def calls_get_through(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        words = [str(word) for word in items(pod.main.spec, "args")]
        for name, number in re.findall(r"https?://([a-z0-9-]+):(\d+)", " ".join(words)):
            service = rendering.named("Service", name, pod.namespace)
            ports = {port.get("port") for port in items(service, "spec.ports")}
            called_pods = service_pods(rendering, service) if service else []
            if int(number) not in ports or not called_pods:
                yield pod.found("spec.containers[0].args", f"there is no {name}:{number}")
            elif not all(_connects(rendering, pod, other, end_of(other).ports["http"]) for other in called_pods):
                yield pod.found("metadata", f"is not let through to {name}:{number}")


@invariant(
    "A database's servers reach one another, its poolers reach them, and the operator and the API server are there."
)
def databases_are_connected(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.operated:
        policies, role = policies_of(rendering), pod.labels.get("cnpg.io/podRole")
        servers = [other for other in _servers(rendering, "instance") if other.namespace == pod.namespace]
        for other, port in product(servers, (5432, 8000) if role == "instance" else (5432,)):
            if not _connects(rendering, pod, other, port):
                yield pod.found("metadata", f"does not reach the servers on port {port}")
        if policies.governing(pod, "Egress") and not _api_ports(rendering, pod):
            yield pod.found("metadata", "does not reach the API server: 443 or 6443, by its address")
        for port in (5432, 8000) if role == "instance" else (5432,):
            outside = [end for end in examples(rendering, pod, "Ingress", {port}) if end.namespace != pod.namespace]
            if policies.governing(pod, "Ingress") and not outside:
                yield pod.found("metadata", f"nobody of another namespace reaches port {port}")


def _api_ports(rendering: Rendering, pod: Pod) -> set[object]:
    return {port for peer, port in _outlets(rendering, pod) if "ipBlock" in peer and port in (443, 6443)}


@invariant("A monitor that is not let in measures nothing.")
def monitors_are_let_in(rendering: Rendering) -> Iterator[Finding]:
    for monitor in rendering.of("PodMonitor"):
        for pod in chosen(dig(monitor, "spec.selector"), rendering.operated, dig(monitor, "metadata.namespace", "")):
            for endpoint in items(monitor, "spec.podMetricsEndpoints"):
                number = end_of(pod).ports.get(str(endpoint.get("port")))
                is_open = not policies_of(rendering).governing(pod, "Ingress")
                if not is_open and not examples(rendering, pod, "Ingress", {number, endpoint.get("port")}):
                    yield pod.found("metadata", f"nobody reaches {endpoint.get('port')}")


@invariant("Past the poolers and straight to the servers goes only who must: the operator and one component.")
def servers_are_for_migrations(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.operated:
        if pod.labels.get("cnpg.io/podRole") != "instance":
            continue
        for rule in rules_of(policies_of(rendering), pod, "Ingress"):
            ports = {port.get("port") for port in items(rule, "ports")}
            for peer in (
                peers_of(rule, "Ingress") if ports & {5432, "postgresql"} and not ports & {8000, "status"} else []
            ):
                labels = dig(peer, "podSelector.matchLabels", {})
                if "namespaceSelector" in peer and "app.kubernetes.io/component" not in labels:
                    yield pod.found("metadata", f"a policy lets in {peer}, which is more than one component")
