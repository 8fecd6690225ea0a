"""Whatever protects is missed when it is gone: each value is changed once, and some invariant must notice."""

import re

import pytest
from tests.charts.harmless import HARMLESS
from tests.charts.invariants.objects import Object, called
from tests.charts.mutations import Judge, Mutation, mutations
from tests.charts.rendering import render_objects

# One of each kind of thing; the others are made by the same lines of the templates.
CHANGED = {
    "telemed": (
        "Deployment telemed/telemed-auth",
        "Deployment telemed/telemed-worker",
        "HorizontalPodAutoscaler telemed/telemed-auth",
        "Job telemed/telemed-migrate",
        "NetworkPolicy telemed/telemed-auth",
        "NetworkPolicy telemed/telemed-default-deny",
        "NetworkPolicy telemed/telemed-migrate",
        "Pod telemed/telemed-smoke",
        "PodDisruptionBudget telemed/telemed-auth",
        "Service telemed/telemed-auth",
        "ServiceAccount telemed/telemed-auth",
    ),
    "telemed-data": (
        "Cluster telemed-data/telemed-data",
        "NetworkPolicy telemed-data/telemed-data-default-deny",
        "ObjectStore telemed-data/telemed-data",
        "PodDisruptionBudget telemed-data/telemed-data-pooler-rw",
        "Pooler telemed-data/telemed-data-pooler-rw",
        "ScheduledBackup telemed-data/telemed-data",
    ),
}
_POD = (
    r"(.*\.)?(securityContext|automountServiceAccountToken|enableServiceLinks|terminationGracePeriodSeconds|lifecycle"
    r"|livenessProbe|readinessProbe|startupProbe|topologySpreadConstraints|volumes|resources|image|imagePullPolicy)\b.*"
)
# What is for security, the end of pods, or their number; by kind.
PROTECTS = {
    "Deployment": rf"spec\.(replicas|strategy|minReadySeconds|progressDeadlineSeconds|selector)\b.*|{_POD}",
    "Job": rf"spec\.(backoffLimit|activeDeadlineSeconds|podFailurePolicy)\b.*|{_POD}|metadata\.annotations.*",
    "Pod": rf"spec\.activeDeadlineSeconds|{_POD}",
    "HorizontalPodAutoscaler": r"spec\b.*",
    "NetworkPolicy": r"spec\b.*",
    "PodDisruptionBudget": r"spec\b.*",
    "Service": r"spec\b.*",
    "ServiceAccount": r"automountServiceAccountToken",
    "Cluster": (
        r"spec\.(instances|postgresql\.synchronous|enableSuperuserAccess|managed|affinity|enablePDB|plugins|resources"
        r"|switchoverDelay|stopDelay|smartShutdownTimeout|seccompProfile)\b.*"
    ),
    "ObjectStore": r"spec\.(retentionPolicy|configuration\.(wal|data)\.encryption)",
    "Pooler": (
        r"spec\.(instances|type|deploymentStrategy|pgbouncer\.poolMode|template\.spec\.securityContext)\b.*"
        r"|.*parameters\.(max_\w+|default_pool_size|query_wait_timeout)|.*\.containers\[\d+\]\.securityContext\b.*"
    ),
    "ScheduledBackup": r"spec\.(cluster|schedule|method|suspend|pluginConfiguration)\b.*",
}


def protecting(target: Object) -> list[Mutation]:
    pattern = re.compile(PROTECTS[target["kind"]])
    return [mutation for mutation in mutations(target) if pattern.fullmatch(mutation.path)]


def is_harmless(mutation: Mutation) -> bool:
    return any(re.fullmatch(pattern, f"{mutation.kind_and_path} {mutation.way}") for pattern in HARMLESS)


@pytest.fixture(scope="module")
def judges() -> dict[str, Judge]:
    return {chart: Judge(render_objects(chart)) for chart in CHANGED}


@pytest.mark.parametrize(("chart", "name"), [(chart, name) for chart, names in CHANGED.items() for name in names])
def test_every_loss_is_noticed(judges: dict[str, Judge], chart: str, name: str) -> None:
    """Taken away, negated, zeroed, halved, doubled or replaced, unless it is known to be harmless."""
    judge = judges[chart]
    (target,) = [thing for thing in judge.objects if called(thing) == name]
    changes = protecting(target)
    assert changes
    survived = [str(one) for one in changes if not is_harmless(one) and judge.notices(one) is None]
    assert survived == []


@pytest.mark.parametrize("pattern", HARMLESS)
def test_what_is_harmless_is_still_there(judges: dict[str, Judge], pattern: str) -> None:
    """A pattern that fits nothing any more would hide the next loss that it happens to fit."""
    lines = {
        f"{mutation.kind_and_path} {mutation.way}"
        for chart, names in CHANGED.items()
        for thing in judges[chart].objects
        if called(thing) in names
        for mutation in protecting(thing)
    }
    assert any(re.fullmatch(pattern, line) for line in lines)
    assert HARMLESS[pattern].endswith(".")
