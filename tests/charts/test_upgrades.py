"""Whoever has installed a released version can upgrade to this one, and keeps data and addresses."""

import copy
from collections.abc import Callable

import pytest
from tests.charts.immutability import refusals
from tests.charts.releases import Release, releases, version
from tests.charts.rendering import Object
from tests.charts.scenarios import charts


@pytest.mark.parametrize("release", releases(), ids=str)
def test_an_upgrade_changes_nothing_that_cannot_change(release: Release) -> None:
    """With the same values, from every version that was released."""
    assert refusals(release.before(), release.after()) == []


@pytest.mark.parametrize("chart", charts())
def test_this_version_is_kept(chart: str) -> None:
    """The next one is compared with it. `make charts-release` writes it."""
    assert f"{version()}/{chart}/defaults" in {str(release) for release in releases()}


def deployment() -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "1"}}, "template": {"spec": {"x": 1}}},
    }


def stateful_set() -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "a"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"a": "1"}},
            "serviceName": "a",
            "podManagementPolicy": "Parallel",
            "template": {},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
        },
    }


def service() -> Object:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"clusterIP": "None"}}


def job() -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "a", "annotations": {}},
        "spec": {"backoffLimit": 1, "template": {"spec": {"x": 1}}},
    }


def claim() -> Object:
    spec = {"storageClassName": "fast", "resources": {"requests": {"storage": "10Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "a"}, "spec": spec}


def cluster() -> Object:
    spec = {"instances": 3, "storage": {"size": "100Gi"}, "walStorage": {"size": "20Gi"}}
    return {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": {"name": "a"}, "spec": spec}


def pooler() -> Object:
    return {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Pooler",
        "metadata": {"name": "a"},
        "spec": {"cluster": {"name": "b"}, "instances": 1},
    }


def settings() -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "immutable": True, "data": {"a": "1"}}


Change = Callable[[Object], object]
REFUSED: dict[str, tuple[Callable[[], Object], Change, str]] = {
    "selector": (deployment, lambda it: it["spec"]["selector"]["matchLabels"].update(b="2"), "spec.selector"),
    "rename": (deployment, lambda it: it["metadata"].update(name="b"), "is gone"),
    "service name": (stateful_set, lambda it: it["spec"].update(serviceName="b"), "spec.serviceName"),
    "claims": (stateful_set, lambda it: it["spec"]["volumeClaimTemplates"].clear(), "spec.volumeClaimTemplates"),
    "new policy": (stateful_set, lambda it: it["spec"].pop("podManagementPolicy"), "spec.podManagementPolicy"),
    "headless no more": (service, lambda it: it["spec"].pop("clusterIP"), "spec.clusterIP"),
    "other job": (job, lambda it: it["spec"]["template"]["spec"].update(x=2), "spec.template"),
    "other class": (claim, lambda it: it["spec"].update(storageClassName="slow"), "spec.storageClassName"),
    "smaller claim": (
        claim,
        lambda it: it["spec"]["resources"]["requests"].update(storage="9Gi"),
        "spec.resources.requests.storage cannot shrink",
    ),
    "smaller disk": (cluster, lambda it: it["spec"]["storage"].update(size="99Gi"), "spec.storage.size cannot shrink"),
    "no disk for the log": (cluster, lambda it: it["spec"].pop("walStorage"), "spec.walStorage cannot be taken away"),
    "other cluster": (pooler, lambda it: it["spec"]["cluster"].update(name="c"), "spec.cluster"),
    "other content": (settings, lambda it: it["data"].update(a="2"), "is immutable as a whole"),
}
ALLOWED: dict[str, tuple[Callable[[], Object], Change]] = {
    "pods": (deployment, lambda it: it["spec"].update(replicas=2, template={})),
    "pods of a set": (stateful_set, lambda it: it["spec"].update(replicas=2, template={"x": 1}, minReadySeconds=1)),
    "newer API": (deployment, lambda it: it.update(apiVersion="apps/v2")),
    "ports": (service, lambda it: it["spec"].update(ports=[])),
    "another job": (job, lambda it: it["metadata"].update(name="b")),
    "patience": (job, lambda it: it["spec"].update(backoffLimit=2)),
    "larger claim": (claim, lambda it: it["spec"]["resources"]["requests"].update(storage="1Ti")),
    "larger disk": (cluster, lambda it: it["spec"]["storage"].update(size="101Gi")),
    "more poolers": (pooler, lambda it: it["spec"].update(instances=2)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_server_refuses_is_found(name: str) -> None:
    """Each rule, by an upgrade that breaks it."""
    make, change, reason = REFUSED[name]
    after = make()
    change(after)

    (refusal,) = refusals([make()], [after])

    assert reason in refusal


@pytest.mark.parametrize("name", ALLOWED)
def test_what_a_server_takes_is_let_pass(name: str) -> None:
    """A rule that forbids more than the server would be switched off."""
    make, change = ALLOWED[name]
    after = make()
    change(after)

    assert refusals([make()], [after]) == []


def test_hooks_are_made_anew() -> None:
    """Helm deletes them before it makes them, unless it is told otherwise."""
    before = job()
    before["metadata"]["annotations"] = {"helm.sh/hook": "pre-upgrade"}
    after = copy.deepcopy(before)
    after["spec"]["template"] = {}

    assert refusals([before], [after]) == []
    before["metadata"]["annotations"]["helm.sh/hook-delete-policy"] = "hook-succeeded"
    assert refusals([before], [after]) != []
