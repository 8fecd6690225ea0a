"""The harness: what it lends to the checks of the charts is Helm's answer, whole, and nothing is forgiven."""

from pathlib import Path

import pytest
from tests.charts.rendering import HelmFailed, documents, parse, render, render_objects

CHART = "apiVersion: v2\nname: sample\nversion: 0.1.0\nkubeVersion: '>=1.34.0-0'\n"
VALUES = "greeting: hello\nnested:\n  number: 1\n"
TEMPLATE = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
  namespace: {{ .Release.Namespace }}
data:
  greeting: {{ .Values.greeting | quote }}
  number: {{ .Values.nested.number | quote }}
  kubernetes: {{ .Capabilities.KubeVersion.Version }}
  keda: {{ .Capabilities.APIVersions.Has "keda.sh/v1alpha1" | quote }}
  upgrade: {{ .Release.IsUpgrade | quote }}
"""


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    folder = tmp_path / "sample"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(CHART)
    (folder / "values.yaml").write_text(VALUES)
    (folder / "templates" / "sample.yaml").write_text(TEMPLATE)
    return folder


@pytest.mark.parametrize("helm", ["helm", "helm3"])
def test_everything_that_can_be_said_reaches_helm(chart: Path, tmp_path: Path, helm: str) -> None:
    """Later values win, `--set` wins over all of them."""
    file = tmp_path / "values.yaml"
    file.write_text("greeting: from a file\nnested: {number: 2}\n")

    (config,) = render_objects(
        chart,
        file,
        {"greeting": "from a mapping"},
        sets=("nested.number=3",),
        release="other",
        namespace="elsewhere",
        kubernetes="1.34",
        api_versions=("keda.sh/v1alpha1",),
        is_upgrade=True,
        helm=helm,
    )

    assert config["metadata"] == {"name": "other", "namespace": "elsewhere"}
    assert config["data"] == {
        "greeting": "from a mapping",
        "number": "3",
        "kubernetes": "v1.34.0",
        "keda": "true",
        "upgrade": "true",
    }


def test_a_chart_that_was_changed_is_rendered_anew(chart: Path) -> None:
    """Mutations are made in place; an answer from before would hide them."""
    before = render(chart)
    (chart / "values.yaml").write_text(VALUES.replace("hello", "good-bye"))

    assert render(chart) == before.replace("hello", "good-bye")


def test_objects_are_the_callers_own(chart: Path) -> None:
    """Whoever changes one changes nobody else's."""
    render_objects(chart)[0]["data"].clear()

    assert render_objects(chart)[0]["data"]


def test_what_helm_refuses_comes_with_its_words(chart: Path) -> None:
    """Bad values are judged by the message."""
    (chart / "templates" / "sample.yaml").write_text('{{ fail "no greeting" }}')

    with pytest.raises(HelmFailed, match="no greeting"):
        render(chart)


def test_a_warning_is_a_failure(chart: Path) -> None:
    """Helm says of a value of another shape that it ignores something, and goes on."""
    with pytest.raises(HelmFailed, match="warning"):
        render(chart, {"greeting": {"in": "a table"}})


def test_a_key_that_is_there_twice_is_refused() -> None:
    """YAML readers keep the last one silently, API servers refuse."""
    with pytest.raises(ValueError, match="name is there twice"):
        parse("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  name: b\n")


def test_a_document_that_is_no_object_is_refused() -> None:
    """A template that lost its first lines is found, an empty one is none."""
    assert parse("---\n---\n# nothing\n") == []
    with pytest.raises(ValueError, match="not a Kubernetes object"):
        parse("kind: ConfigMap\nmetadata: {name: a}\n")


def test_documents_are_compared_without_the_lines_between_them() -> None:
    """Helm 4 ends each document with another number of empty lines than Helm 3."""
    assert documents("---\na: 1\n---\nb: 1\n") == documents("---\na: 1\n\n---\n\nb: 1\n\n") == ["a: 1", "b: 1"]
