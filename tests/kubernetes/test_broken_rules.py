"""Each rule of the policies of k8s/ is broken once, and refused with the sentence that says so."""

from collections.abc import Callable

import pytest
from tests.kubernetes.admission import Object, Server
from tests.kubernetes.samples import DIGEST, container, found, pod

pytestmark = pytest.mark.usefixtures("programs")


@pytest.fixture(scope="module")
def production(programs: None) -> Server:
    return Server("production")


Break = Callable[[Object], object]


def with_image(image: str) -> Break:
    return lambda o: container(o).update(image=image)


def with_variable(**variable: object) -> Break:
    return lambda o: container(o)["env"].append(variable)


# What is broken, how, and words of the sentence that says so. Every rule of every policy stands here at least once.
BROKEN: list[tuple[str, str, str, Break, str]] = [
    ("no version", "Deployment", "telemed-auth", with_image("telemed"), "names an image without a version"),
    (
        "port but no version",
        "Deployment",
        "telemed-auth",
        with_image("registry:5000/telemed"),
        "names an image without a version",
    ),
    ("latest", "Deployment", "telemed-auth", with_image("telemed:latest"), "container auth asks for the image latest"),
    ("no digest", "Deployment", "telemed-auth", with_image("telemed:0.1.0"), "names its image without a digest"),
    ("latest job", "Job", "telemed-migrate", with_image("telemed:latest"), "asks for the image latest"),
    (
        "CPU limit",
        "Deployment",
        "telemed-auth",
        lambda o: container(o)["resources"]["limits"].update(cpu="1"),
        "has a CPU limit",
    ),
    (
        "no CPU request",
        "Deployment",
        "telemed-worker",
        lambda o: container(o)["resources"]["requests"].pop("cpu"),
        "does not say what CPU and memory it asks for",
    ),
    (
        "more memory than asked for",
        "Job",
        "telemed-migrate",
        lambda o: container(o)["resources"]["limits"].update(memory="4Gi"),
        "memory limit differs from its request",
    ),
    (
        "no memory limit",
        "Deployment",
        "telemed-auth",
        lambda o: container(o)["resources"].pop("limits"),
        "memory limit differs from its request",
    ),
    (
        "init container",
        "Deployment",
        "telemed-auth",
        lambda o: pod(o).update(initContainers=[{"name": "init", "image": f"busybox@{DIGEST}"}]),
        "does not say what CPU and memory it asks for",
    ),
    (
        "no liveness",
        "Deployment",
        "telemed-worker",
        lambda o: container(o).pop("livenessProbe"),
        "no liveness or no readiness probe",
    ),
    (
        "no readiness",
        "Deployment",
        "telemed-auth",
        lambda o: container(o).pop("readinessProbe"),
        "no liveness or no readiness probe",
    ),
    ("no preStop", "Deployment", "telemed-booking", lambda o: container(o).pop("lifecycle"), "no preStop hook"),
    (
        "short grace",
        "Deployment",
        "telemed-booking",
        lambda o: pod(o).update(terminationGracePeriodSeconds=5),
        "terminationGracePeriodSeconds is over before",
    ),
    (
        "service links",
        "Deployment",
        "telemed-auth",
        lambda o: pod(o).pop("enableServiceLinks"),
        "enableServiceLinks is not false",
    ),
    (
        "token",
        "Job",
        "telemed-migrate",
        lambda o: pod(o).update(automountServiceAccountToken=True),
        "automountServiceAccountToken is not false",
    ),
    (
        "whole Secret",
        "Deployment",
        "telemed-auth",
        lambda o: container(o).update(envFrom=[{"secretRef": {"name": "telemed-database"}}]),
        "takes a whole Secret into its environment",
    ),
    (
        "open secret",
        "Deployment",
        "telemed-auth",
        with_variable(name="OWNER_DATABASE_URL", value="postgresql://u:p@h/d"),
        "a secret stands in the description of a pod",
    ),
    (
        "twice",
        "Deployment",
        "telemed-auth",
        with_variable(name="ENVIRONMENT", value="local"),
        "an environment variable is there twice",
    ),
    (
        "writable",
        "Deployment",
        "telemed-auth",
        lambda o: container(o)["securityContext"].update(readOnlyRootFilesystem=False),
        "can write to its root file system",
    ),
    (
        "hole in an update",
        "Deployment",
        "telemed-auth",
        lambda o: o["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1),
        "pods away before their successors are ready",
    ),
    (
        "all at once",
        "Deployment",
        "telemed-auth",
        lambda o: o["spec"].update(strategy={"type": "Recreate"}),
        "pods away before their successors are ready",
    ),
    (
        "budget of none",
        "PodDisruptionBudget",
        "telemed-auth",
        lambda o: o["spec"].update(maxUnavailable=0),
        "could block the drain of a node for ever",
    ),
    (
        "budget of no share",
        "PodDisruptionBudget",
        "telemed-auth",
        lambda o: o["spec"].update(maxUnavailable="0%"),
        "could block the drain of a node for ever",
    ),
    (
        "fewest pods",
        "PodDisruptionBudget",
        "telemed-auth",
        lambda o: o.update(spec={"minAvailable": 2, "unhealthyPodEvictionPolicy": "AlwaysAllow"}),
        "could block the drain of a node for ever",
    ),
    (
        "ill pods",
        "PodDisruptionBudget",
        "telemed-auth",
        lambda o: o["spec"].pop("unhealthyPodEvictionPolicy"),
        "pods that are ill count against this budget",
    ),
    (
        "open ingress",
        "NetworkPolicy",
        "telemed-auth",
        lambda o: o["spec"]["ingress"].append({}),
        "names no peers and so allows everybody",
    ),
    (
        "open egress",
        "NetworkPolicy",
        "telemed-default-deny",
        lambda o: o["spec"].update(egress=[{"ports": [{"port": 443}]}]),
        "names no peers and so allows everybody",
    ),
    (
        "every namespace",
        "NetworkPolicy",
        "telemed-auth",
        lambda o: o["spec"]["egress"].append({"to": [{"namespaceSelector": {}}]}),
        "allows every pod of every namespace",
    ),
    (
        "every address",
        "NetworkPolicy",
        "telemed-auth",
        lambda o: o["spec"]["egress"].append({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}),
        "allows every address on every port",
    ),
    ("no name", "HTTPRoute", "telemed-route", lambda o: o["spec"].pop("hostnames"), "answers to every name"),
    (
        "name of another",
        "HTTPRoute",
        "telemed-route",
        lambda o: o["spec"].update(hostnames=["eviltelemed.example"]),
        "eviltelemed.example, which is not in telemed.example",
    ),
    (
        "Ingress without a name",
        "Ingress",
        "telemed-ingress",
        lambda o: o["spec"]["rules"][0].pop("host"),
        "answers to every name",
    ),
]


@pytest.mark.parametrize(
    ("kind", "name", "spoil", "words"),
    [each[1:] for each in BROKEN],
    ids=[each[0].replace(" ", "-") for each in BROKEN],
)
def test_what_breaks_a_rule_is_refused(production: Server, kind: str, name: str, spoil: Break, words: str) -> None:
    """With a sentence that says what to do; and only because of what was broken."""
    manifest = found(kind, name)
    assert production.refusals(manifest, "telemed") == []
    spoil(manifest)
    assert [message for message in production.refusals(manifest, "telemed", "UPDATE") if words in message]


def test_every_rule_is_broken_once(production: Server) -> None:
    """A rule that nothing above breaks could be gone unnoticed."""
    broken = 0
    for policy in production.policies.values():
        sentences = [rule["message"] for rule in policy["spec"]["validations"]]
        assert len(set(sentences)) == len(sentences)
        broken += len(sentences)
    seen = set()
    for _, kind, name, spoil, _ in BROKEN:
        manifest = found(kind, name)
        spoil(manifest)
        # A sentence with names in it stands for its rule by its first and last words.
        seen |= {_rule(production, message) for message in production.refusals(manifest, "telemed")}
    assert len(seen) == broken


def _rule(server: Server, message: str) -> tuple[str, int]:
    policy, _, sentence = message.partition(": ")
    rules = server.policies[policy]["spec"]["validations"]
    for number, rule in enumerate(rules):
        literal = rule.get("messageExpression", f"'{rule['message']}'").rsplit("'", 2)[1]
        if sentence.endswith(literal):
            return policy, number
    raise AssertionError(message)
