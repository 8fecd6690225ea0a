"""A switch that is turned in a chart itself is noticed: by Helm, the schema, a check of the templates or an invariant."""

# ruff: noqa: E501 - a change is read on one line

import shutil
from pathlib import Path

import pytest
from tests.charts.invariants.leftout import ANNOTATION
from tests.charts.invariants.objects import Rendering, annotations_of
from tests.charts.invariants.registry import violations
from tests.charts.rendering import CHARTS, HelmFailed, render_objects

# The chart, the file, what it says, and what it is made to say.
LINES = [
    ("telemed", "templates/deployment.yaml", "maxUnavailable: 0", "maxUnavailable: 1"),
    ("telemed", "templates/deployment.yaml", 'if eq $component.autoscaling.mode "none"', "if true"),
    ("telemed", "templates/poddisruptionbudget.yaml", "unhealthyPodEvictionPolicy: AlwaysAllow", ""),
    ("telemed", "templates/serviceaccount.yaml", "automountServiceAccountToken: false", ""),
    ("telemed", "values.yaml", "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"),
    ("telemed", "values.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
    ("telemed", "values.yaml", "capabilities: {drop: [ALL]}", "capabilities: {drop: []}"),
    ("telemed", "values.yaml", "fsGroup: 10001", "fsGroup: 0"),
    ("telemed", "values.yaml", "DRAIN_SECONDS: 3", "DRAIN_SECONDS: 0"),
    ("telemed", "values.yaml", "SHUTDOWN_GRACE_SECONDS: 25", "SHUTDOWN_GRACE_SECONDS: 10"),
    ("telemed", "values.yaml", "preStopSeconds: 5", "preStopSeconds: 0"),
    ("telemed", "values.yaml", "minReplicas: 2", "minReplicas: 1"),
    ("telemed", "values.yaml", "cpuPercent: 65", "cpuPercent: 95"),
    ("telemed", "values.yaml", "path: /livez, periodSeconds: 10, timeoutSeconds: 5", "path: /livez, periodSeconds: 10, timeoutSeconds: 1"),
    ("telemed", "values.yaml", "zone: ScheduleAnyway", "zone: none"),
    ("telemed-data", "values.yaml", "dataDurability: required", "dataDurability: preferred"),
    ("telemed-data", "values.yaml", "number: 1", "number: 2"),
    ("telemed-data", "values.yaml", "defaultDeny: true", "defaultDeny: false"),
    ("telemed-data", "values.yaml", 'max_db_connections: "60"', 'max_db_connections: "600"'),
    ("telemed-data", "templates/poolers.yaml", "poolMode: transaction", "poolMode: session"),
]  # fmt: skip


@pytest.mark.parametrize(("chart", "file", "old", "new"), LINES, ids=[f"{row[0]}-{row[3] or row[2]}" for row in LINES])
def test_a_turned_switch_is_noticed(tmp_path: Path, chart: str, file: str, old: str, new: str) -> None:
    """Also when what it leaves out is said: by default nothing is."""
    copy = tmp_path / chart
    shutil.copytree(CHARTS / chart, copy)
    text = (copy / file).read_text()
    assert old in text, "the line is not there any more"
    (copy / file).write_text(text.replace(old, new))
    try:
        objects = render_objects(copy)
    except HelmFailed:
        return
    said = [thing for thing in objects if ANNOTATION in annotations_of(thing)]
    assert said or violations(Rendering(objects))
