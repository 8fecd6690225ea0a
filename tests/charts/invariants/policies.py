"""What NetworkPolicies let through: a small evaluator of their rules, with nothing of Telemed in it.

Source: kubernetes.io, "Network Policies", and the field descriptions of networking.k8s.io/v1.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Literal

from tests.charts.invariants.objects import Object, Pod, chosen, dig, items, matches

Direction = Literal["Ingress", "Egress"]
_FIELDS: dict[Direction, tuple[str, str]] = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}
_NAME = "kubernetes.io/metadata.name"
_address = cache(ip_address)


@cache
def _network(cidr: str) -> IPv4Network | IPv6Network:
    return ip_network(cidr, strict=False)


@dataclass(frozen=True)
class End:
    """One end of a connection: a pod with its labels, or somebody outside with nothing but an address."""

    address: str = ""
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    name: str = ""

    @property
    def is_pod(self) -> bool:
        return bool(self.namespace)

    @property
    def known_as(self) -> Mapping[str, str]:
        """Give the labels of its namespace, with the one that Kubernetes itself gives."""
        return {**self.namespace_labels, _NAME: self.namespace}


def end_of(pod: Pod) -> End:
    """Make an end of a pod that is rendered."""
    ports = {name: number for container in pod.containers for name, number in container.ports.items()}
    return End(namespace=pod.namespace, labels=pod.labels, ports=ports, name=pod.owner["metadata"]["name"])


class Policies:
    """The policies of one rendering. Whom each of them governs is worked out once."""

    def __init__(self, objects: list[Object]) -> None:
        self.objects = objects
        self._governing: dict[tuple[Pod, Direction], list[Object]] = {}

    def governing(self, pod: Pod, direction: Direction) -> list[Object]:
        """Give the policies that restrict a pod in a direction; without any, everything is allowed."""
        if (pod, direction) not in self._governing:
            self._governing[(pod, direction)] = [
                policy
                for policy in self.objects
                if direction in types_of(policy)
                and pod in chosen(dig(policy, "spec.podSelector", {}), [pod], dig(policy, "metadata.namespace", ""))
            ]
        return self._governing[(pod, direction)]


def types_of(policy: Object) -> set[str]:
    """Give the directions that a policy restricts: Egress only if it is said, or if there are rules for it."""
    said = items(policy, "spec.policyTypes")
    return set(said) if said else {"Ingress"} | ({"Egress"} if items(policy, "spec.egress") else set())


def rules_of(policies: Policies, pod: Pod, direction: Direction) -> Iterator[Object]:
    """Give the rules that let something through, to or from a pod."""
    for policy in policies.governing(pod, direction):
        yield from items(policy, f"spec.{_FIELDS[direction][0]}")


def peers_of(rule: Object, direction: Direction) -> list[Object]:
    """Give whom a rule is about; an empty list is everybody."""
    return items(rule, _FIELDS[direction][1])


def is_let_through(policies: Policies, pod: Pod, direction: Direction, other: End, port: int, protocol: str) -> bool:
    """Tell whether the pod's side allows a connection: from *other* to its port, or from it to *other*'s port."""
    restricting = policies.governing(pod, direction)
    if not restricting:
        return True
    ports = end_of(pod).ports if direction == "Ingress" else other.ports
    return any(
        _is_port(rule, port, protocol, ports) and _is_peer(rule, direction, other, pod.namespace)
        for rule in rules_of(policies, pod, direction)
    )


def _is_port(rule: Object, port: int, protocol: str, named: Mapping[str, int]) -> bool:
    listed = items(rule, "ports")
    if not listed:
        return True
    for one in listed:
        if one.get("protocol", "TCP") != protocol:
            continue
        first = named.get(one["port"]) if isinstance(one.get("port"), str) else one.get("port")
        if "port" not in one or (first is not None and first <= port <= one.get("endPort", first)):
            return True
    return False


def _is_peer(rule: Object, direction: Direction, other: End, own_namespace: str) -> bool:
    peers = peers_of(rule, direction)
    return not peers or any(_fits(peer, other, own_namespace) for peer in peers)


def _fits(peer: Object, other: End, own_namespace: str) -> bool:
    if "ipBlock" in peer:
        if not other.address:
            return False
        address, block = _address(other.address), peer["ipBlock"]
        out = any(address in _network(cidr) for cidr in block.get("except") or [])
        return address in _network(block["cidr"]) and not out
    if not other.is_pod:
        return False
    if "namespaceSelector" in peer:
        if not matches(peer["namespaceSelector"] or {}, other.known_as):
            return False
    elif other.namespace != own_namespace:
        return False
    return "podSelector" not in peer or matches(peer["podSelector"] or {}, other.labels)


def example_of(peer: Object, own_namespace: str) -> End | None:
    """Make somebody whom a peer of a rule means; None if nobody could be.

    Knows equality, In and Exists, which is what is used; of an address block it is the last address.
    """
    if "ipBlock" in peer:
        return End(address=str(_network(peer["ipBlock"]["cidr"])[-1]))
    spaces = _labels_for(peer.get("namespaceSelector") or {})
    namespace = spaces.get(_NAME, "somewhere") if "namespaceSelector" in peer else own_namespace
    labels = _labels_for(peer.get("podSelector") or {})
    end = End(namespace=namespace, labels=labels, namespace_labels=spaces, name="example")
    return end if _fits(peer, end, own_namespace) else None


def _labels_for(selector: Object) -> dict[str, str]:
    labels = dict(selector.get("matchLabels") or {})
    for rule in selector.get("matchExpressions") or []:
        if rule["operator"] == "In":
            labels[rule["key"]] = rule["values"][0]
        elif rule["operator"] == "Exists":
            labels[rule["key"]] = "any"
    return labels
