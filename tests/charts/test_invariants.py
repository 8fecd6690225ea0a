"""Every invariant holds for every scenario of every chart, for what kustomize builds, and for all of it together."""

from pathlib import Path

import pytest
import yaml
from tests.charts.invariants.leftout import ANNOTATION
from tests.charts.invariants.objects import Rendering, annotations_of
from tests.charts.invariants.registry import violations
from tests.charts.rendering import Object, parse, render_objects
from tests.charts.scenarios import Scenario, all_scenarios, charts
from tests.charts.test_kustomize import FOLDERS, build, named

# Scenario → what does not hold for it, and why that is right.
ALLOWED: dict[str, set[str]] = {}


def wrong(objects: list[Object], allowed: set[str] | None = None) -> list[str]:
    return [str(violation) for violation in violations(Rendering(objects), allowed=allowed or ())]


@pytest.mark.parametrize("scenario", all_scenarios(), ids=str)
def test_invariants_hold_for_a_scenario(scenario: Scenario) -> None:
    """As somebody might install it."""
    assert wrong(scenario.objects(), ALLOWED.get(str(scenario))) == []


def test_invariants_hold_for_the_whole_platform() -> None:
    """All charts in one cluster: what one lets out, the other lets in, and all connections fit."""
    objects = [thing for chart in charts() for thing in render_objects(chart)]
    assert wrong(objects) == []


@pytest.mark.parametrize("folder", FOLDERS, ids=named)
def test_invariants_hold_for_a_folder_of_kustomize(folder: Path) -> None:
    """What is made once for the cluster is held to the same."""
    assert wrong(parse(build(folder))) == []


def test_exceptions_are_still_needed() -> None:
    """One that is not needed any more would hide the next mistake."""
    by_name = {str(scenario): scenario for scenario in all_scenarios()}
    for name, allowed in ALLOWED.items():
        found = {violation.invariant for violation in violations(Rendering(by_name[name].objects()))}
        assert found == allowed, name


@pytest.mark.parametrize("chart", charts())
def test_nothing_is_left_out_by_default(chart: str) -> None:
    """Who installs a chart as it comes has all of its protection."""
    assert [thing for thing in render_objects(chart) if ANNOTATION in annotations_of(thing)] == []


def test_what_is_left_out_is_said() -> None:
    """On the workload, in words that the invariants know."""
    values = yaml.safe_load("{networkPolicy: {enabled: false}, defaults: {disruption: {enabled: false}}}")
    objects = render_objects("telemed", values)
    said = {annotations_of(thing)[ANNOTATION] for thing in objects if thing["kind"] == "Deployment"}
    assert said == {"disruption-budget,network-policy"}
    assert wrong(objects) == []
    for thing in objects:
        annotations_of(thing).pop(ANNOTATION, None)
        thing["metadata"].pop("annotations", None)
    found = {violation.invariant for violation in violations(Rendering(objects))}
    assert {"denial-is-the-default", "evictions-are-rationed"} <= found
