"""The policies of k8s/ let the charts through, and refuse whatever breaks a rule with a sentence that says which."""

import pytest
from tests.charts.rendering import render_objects
from tests.charts.scenarios import Scenario, all_scenarios
from tests.kubernetes.admission import Object, Server
from tests.kubernetes.samples import OVERLAYS, ROUTED, container, found, pods_of

pytestmark = pytest.mark.usefixtures("programs")


@pytest.fixture(scope="module")
def local(programs: None) -> Server:
    return Server("local")


@pytest.fixture(scope="module")
def production(programs: None) -> Server:
    return Server("production")


@pytest.mark.parametrize("scenario", all_scenarios(), ids=str)
def test_the_charts_keep_the_rules(local: Server, scenario: Scenario) -> None:
    """In every scenario, in its namespace, also the pods that controllers make of them."""
    for manifest in scenario.objects():
        for each in (manifest, *pods_of(manifest)):
            for operation in ("CREATE", "UPDATE"):
                assert local.refusals(each, scenario.chart, operation) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_environment_lets_the_application_in(overlay: str) -> None:
    """Named by digest and under the domain's name, as production wants it."""
    server = Server(overlay)
    host = [OVERLAYS[overlay]]
    objects = render_objects("telemed", ROUTED, {"route": {"hostnames": host}, "ingress": {"hosts": host}})
    assert {"Deployment", "HTTPRoute", "Ingress", "NetworkPolicy", "Job", "Pod"} <= {o["kind"] for o in objects}
    assert [server.refusals(o, "telemed") for o in objects if server.refusals(o, "telemed")] == []


def test_every_rule_is_bound_to_somebody() -> None:
    """A policy without a binding, or a binding for labels that no namespace has, refuses nothing."""
    for overlay in OVERLAYS:
        server = Server(overlay)
        assert {b["spec"]["policyName"] for b in server.bindings.values()} == set(server.policies)
        for binding in server.bindings.values():
            labels = binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"]
            assert any(labels.items() <= n["metadata"]["labels"].items() for n in server.namespaces.values())


def test_a_failed_evaluation_refuses() -> None:
    """Whoever is not sure says no."""
    for policy in Server("local").policies.values():
        assert policy["spec"]["failurePolicy"] == "Fail"


def test_pods_are_held_to_it_like_their_makers(production: Server) -> None:
    """Whatever makes them: a pod by hand as well."""
    [each] = pods_of(found("Deployment", "telemed-auth"))
    assert production.refusals(each, "telemed") == []
    each["spec"]["enableServiceLinks"] = True
    each["spec"]["containers"][0]["image"] = "telemed:latest"
    assert len(production.refusals(each, "telemed")) == 3


def test_a_pod_that_runs_is_left_alone(local: Server) -> None:
    """Controllers change its labels and finalizers; a rule that came after it must not stop that."""
    [each] = pods_of(found("Deployment", "telemed-auth"))
    each["spec"].pop("enableServiceLinks")
    assert local.refusals(each, "telemed", "CREATE")
    assert local.refusals(each, "telemed", "UPDATE") == []


@pytest.mark.parametrize("kind", ["Deployment", "PodDisruptionBudget", "NetworkPolicy"])
def test_whatever_goes_may_go(local: Server, kind: str) -> None:
    """Taking a finalizer off is an update, and the last one."""
    manifest = found(kind, "telemed-auth")
    manifest["spec"] = {"template": {"spec": {"containers": [{"name": "auth", "image": "telemed"}]}}}
    manifest["metadata"]["deletionTimestamp"] = "2026-11-23T00:00:00Z"
    assert local.refusals(manifest, "telemed", "UPDATE") == []


def test_operators_bring_pods_of_their_own(local: Server) -> None:
    """CloudNativePG's pods have a token and no memory limit of ours; only their images are looked at."""
    each = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "telemed-data-1"},
        "spec": {"containers": [{"name": "postgres", "image": "ghcr.io/cloudnative-pg/postgresql:18.6"}]},
    }
    assert local.refusals(each, "telemed-data") == []
    assert local.refusals(each, "telemed")
    each["spec"] = {"containers": [{"name": "postgres", "image": "postgresql:latest"}]}
    assert local.refusals(each, "telemed-data")


def test_certificates_may_be_asked_for(local: Server) -> None:
    """With an Ingress, cert-manager answers from a pod in the application's namespace."""
    each: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "cm-acme-http-solver", "labels": {"acme.cert-manager.io/http01-solver": "true"}},
        "spec": {"containers": [{"name": "solver", "image": "quay.io/jetstack/cert-manager-acmesolver:v1.19.1"}]},
    }
    assert local.refusals(each, "telemed") == []
    each["metadata"]["labels"] = {}
    assert local.refusals(each, "telemed")


def test_code_may_be_written_where_it_is_developed(local: Server, production: Server) -> None:
    """Skaffold copies it into the pod; the namespace's label says that this is such a place."""
    manifest = found("Deployment", "telemed-auth")
    container(manifest)["securityContext"]["readOnlyRootFilesystem"] = False
    assert local.refusals(manifest, "telemed") == []
    assert production.refusals(manifest, "telemed")


def test_pod_security_is_enforced_everywhere() -> None:
    """`restricted`, of a version that the cluster surely has; what the newest would say is said as a warning."""
    for overlay in OVERLAYS:
        for name, namespace in Server(overlay).namespaces.items():
            labels = namespace["metadata"]["labels"]
            for mode in ("enforce", "audit", "warn"):
                assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted", (overlay, name)
            assert labels["pod-security.kubernetes.io/enforce-version"] == "v1.34"
            assert labels["pod-security.kubernetes.io/warn-version"] == "latest"
