"""Every scenario of every chart, rendered for every promised Kubernetes, is what its API server would take as it is."""

import collections
import re

import pytest
from tests.charts.rendering import CHARTS, KUBERNETES, Object, documents, parse, render_objects
from tests.charts.scenarios import LONGEST_RELEASE, Scenario, all_scenarios, charts, scenarios
from tests.charts.strictness import faults

SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
FEWEST = {"telemed": 15, "telemed-data": 4}


@pytest.mark.parametrize("scenario", all_scenarios(), ids=str)
def test_every_object_is_valid_in_every_promised_version(scenario: Scenario) -> None:
    """No unknown field, no other type, no kind without a schema; the objects of operators included."""
    for kubernetes in KUBERNETES:
        manifests = scenario.objects(kubernetes=kubernetes)
        assert [fault for manifest in manifests for fault in faults(manifest, kubernetes)] == []


@pytest.mark.parametrize("scenario", all_scenarios(), ids=str)
def test_both_helms_write_the_same_each_time(scenario: Scenario) -> None:
    """Whoever compares what is installed with what would be (GitOps, `helm diff`) sees nothing that nobody did."""
    expected = scenario.render()

    assert scenario.render(afresh=True) == expected
    # Helm 4 alone ends each document with an empty line.
    assert documents(scenario.render(helm="helm3")) == documents(expected)


@pytest.mark.parametrize("scenario", all_scenarios(), ids=str)
def test_nothing_is_installed_twice_or_elsewhere(scenario: Scenario) -> None:
    """Two objects of one name overwrite each other; one in another namespace escapes the release's policies."""
    manifests = scenario.objects()
    namespace = scenario.options.get("namespace", scenario.chart)

    counted = collections.Counter((each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in manifests)

    assert [name for name, times in counted.items() if times > 1] == []
    assert {_namespace_of(each) for each in manifests} <= {namespace}


@pytest.mark.parametrize("release", ["1.care", "telemed.2", LONGEST_RELEASE])
@pytest.mark.parametrize("chart", charts())
def test_whatever_a_release_is_called_its_services_can_be_called_so(chart: str, release: str) -> None:
    """Helm allows dots, and a digit first; a Service allows neither, and operators make Services of objects' names."""
    addressed = {
        each["metadata"]["name"]
        for each in render_objects(chart, release=release)
        if each["kind"] in {"Service", "StatefulSet", "Cluster", "Pooler"}
    }
    assert [name for name in addressed if len(name) > 63 or not SERVICE_NAME.fullmatch(name)] == []


@pytest.mark.parametrize("chart", charts())
def test_there_are_enough_scenarios(chart: str) -> None:
    """A chart without odd values looks as good as one that bears them."""
    assert len(scenarios(chart)) >= FEWEST.get(chart, 3)


@pytest.mark.parametrize("chart", charts())
def test_every_template_is_rendered_by_some_scenario(chart: str) -> None:
    """A template that no scenario reaches is one that nobody has seen."""
    sources = {
        line.removeprefix("# Source: ").split("/", 1)[1]
        for scenario in scenarios(chart)
        for line in scenario.render().splitlines()
        if line.startswith("# Source: ")
    }
    assert templates_of(chart) - sources == set()


def templates_of(chart: str) -> set[str]:
    """Return the templates that make objects, by their paths in the chart."""
    folder = CHARTS / chart
    files = [path for path in (folder / "templates").rglob("*.yaml") if "apiVersion:" in path.read_text()]
    return {str(path.relative_to(folder)) for path in files}


def _namespace_of(manifest: Object) -> str | None:
    name: str | None = manifest["metadata"].get("namespace")
    return name


def test_the_odd_values_are_what_is_rendered() -> None:
    """Text that looks like YAML or a template arrives as it was written."""
    (scenario,) = [each for each in scenarios("telemed") if each.name == "hostile-text"]
    (deployment,) = [
        each
        for each in parse(scenario.render())
        if each["kind"] == "Deployment" and each["metadata"]["labels"]["app.kubernetes.io/component"] == "auth"
    ]
    annotations = deployment["metadata"]["annotations"]
    environment = {
        each["name"]: each.get("value") for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    }

    assert annotations["quote"] == 'he said "no": {{ .Values.secrets }}'
    assert annotations["lines"] == "first\nsecond: {}\n---\nthird"
    assert annotations["octal"] == "0755"
    assert deployment["metadata"]["labels"]["nothing"] == "null"
    assert environment["JWT_ISSUER"] == "https://issuer.example.org/?a=1&b={c}#d: 'e'"
    assert environment["ANSWER"] == "yes"
    assert environment["DOLLAR"] == "$(HOME) $$ ${HOME}"
