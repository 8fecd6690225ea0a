"""The evaluator of NetworkPolicies says what Kubernetes' documentation says."""

from typing import Any

import pytest
from tests.charts.invariants.objects import Object, Pod
from tests.charts.invariants.policies import Direction, End, Policies, example_of, is_let_through

APP = {"app": "api"}
POD = Pod(
    {
        "kind": "Pod",
        "metadata": {"name": "api", "namespace": "own", "labels": APP},
        "spec": {"containers": [{"name": "api", "ports": [{"name": "http", "containerPort": 3000}]}]},
    },
    "",
)
FRIEND = End(namespace="own", labels={"app": "friend"})
STRANGER = End(namespace="other", labels={"app": "friend"}, namespace_labels={"team": "b"}, address="10.0.0.9")
OUTSIDE = End(address="203.0.113.7")


def policy(**spec: Any) -> Object:
    return {"kind": "NetworkPolicy", "metadata": {"name": "x", "namespace": "own"}, "spec": {"podSelector": {}, **spec}}


def passes(
    spec: dict[str, Any], other: End, port: int = 3000, protocol: str = "TCP", way: Direction = "Ingress"
) -> bool:
    return is_let_through(Policies([policy(**spec)]), POD, way, other, port, protocol)


def test_without_a_policy_everything_passes() -> None:
    """In both directions."""
    assert is_let_through(Policies([]), POD, "Ingress", STRANGER, 1, "UDP")
    assert is_let_through(Policies([]), POD, "Egress", STRANGER, 1, "UDP")


def test_a_policy_without_types_restricts_ingress_and_egress_only_with_rules() -> None:
    """As the API server assumes."""
    assert not passes({}, FRIEND)
    assert passes({}, FRIEND, way="Egress")
    assert not passes({"egress": [{"to": [{"podSelector": {"matchLabels": {"app": "other"}}}]}]}, FRIEND, way="Egress")


def test_a_policy_of_other_pods_restricts_nobody_here() -> None:
    """By labels, or by namespace."""
    elsewhere = policy()
    elsewhere["metadata"]["namespace"] = "other"
    assert passes({"podSelector": {"matchLabels": {"app": "other"}}}, STRANGER)
    assert is_let_through(Policies([elsewhere]), POD, "Ingress", STRANGER, 3000, "TCP")


def test_policies_add_up() -> None:
    """What one of them allows is allowed."""
    both = Policies([policy(), policy(ingress=[{}])])
    assert is_let_through(both, POD, "Ingress", STRANGER, 3000, "TCP")


@pytest.mark.parametrize(
    ("peer", "whom"),
    [
        ({"podSelector": {}}, {"friend"}),
        ({"podSelector": {"matchLabels": {"app": "friend"}}}, {"friend"}),
        ({"namespaceSelector": {}}, {"friend", "stranger"}),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}, {"stranger"}),
        ({"namespaceSelector": {"matchLabels": {"team": "b"}}, "podSelector": {"matchLabels": {"app": "x"}}}, set()),
        ({"podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["friend"]}]}}, set()),
        ({"ipBlock": {"cidr": "0.0.0.0/0"}}, {"stranger", "outside"}),
        ({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}, {"outside"}),
    ],
)
def test_a_peer_means(peer: Object, whom: set[str]) -> None:
    """Pods of the own namespace, of chosen namespaces, or addresses; both selectors of one peer must fit."""
    others = {"friend": FRIEND, "stranger": STRANGER, "outside": OUTSIDE}
    assert {name for name, other in others.items() if passes({"ingress": [{"from": [peer]}]}, other)} == whom


@pytest.mark.parametrize(
    ("ports", "port", "protocol", "is_open"),
    [
        ([{"port": 3000}], 3000, "TCP", True),
        ([{"port": 3000}], 3000, "UDP", False),
        ([{"port": "http"}], 3000, "TCP", True),
        ([{"port": "https"}], 3000, "TCP", False),
        ([{"port": 2000, "endPort": 4000}], 3000, "TCP", True),
        ([{"protocol": "TCP"}], 9000, "TCP", True),
        ([], 9000, "UDP", True),
    ],
)
def test_a_rule_opens(ports: list[Object], port: int, protocol: str, *, is_open: bool) -> None:
    """A number, a name, a range, a protocol, or everything."""
    assert passes({"ingress": [{"ports": ports}]}, STRANGER, port, protocol) == is_open


@pytest.mark.parametrize("peer", [{"podSelector": {"matchLabels": APP}}, {"ipBlock": {"cidr": "192.0.2.1/32"}}])
def test_an_example_is_somebody_who_is_meant(peer: Object) -> None:
    """It passes the rule that it was made from."""
    example = example_of(peer, "own")
    assert example is not None
    assert passes({"ingress": [{"from": [peer]}]}, example)
