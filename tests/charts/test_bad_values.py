"""What would not work, or would leave a hole, is refused before anything is installed, with words that help.

bad_values/<chart>.yaml lists it: `values`, what the refusal `says`, and `at` which value, where the schema refuses.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.charts.rendering import CHARTS, HelmFailed, render
from tests.charts.scenarios import charts

HERE = Path(__file__).parent / "bad_values"
FEWEST = 30  # over all charts; each chart has ten of its own
# Helm 4 names a place as a JSON pointer, Helm 3 with dots.
HELMS = {"helm": "/", "helm3": "."}
# What Helm 3's older reader of schemas does not know, and ignores without a word.
UNKNOWN_TO_HELM_3 = {
    "$dynamicRef",
    "dependentRequired",
    "dependentSchemas",
    "maxContains",
    "minContains",
    "prefixItems",
    "unevaluatedItems",
    "unevaluatedProperties",
}
REMARKS = {"description", "title", "default", "examples", "$comment"}


def bad_values(chart: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = yaml.safe_load((HERE / f"{chart}.yaml").read_text())
    return listed


def everything_bad() -> list[Any]:
    return [pytest.param(chart, bad, id=f"{chart}: {bad['what']}") for chart in charts() for bad in bad_values(chart)]


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize(("chart", "bad"), everything_bad())
def test_bad_values_are_refused_with_words_that_help(chart: str, bad: dict[str, Any], helm: str) -> None:
    """The place, and what is wrong there; the same with both Helms."""
    with pytest.raises(HelmFailed) as refusal:
        render(chart, bad["values"], helm=helm)

    message = str(refusal.value)
    assert [words for words in bad["says"] if words not in message] == [], message
    assert bad.get("at", "").replace(".", HELMS[helm]) in message
    # An error of the templates' own, such as "nil pointer", is no refusal.
    assert "meet the specifications of the schema" in message or "execution error at" in message


def test_there_are_enough_of_them() -> None:
    """Of each chart, and of all."""
    counted = {chart: len(bad_values(chart)) for chart in charts()}
    assert min(counted.values()) >= 10
    assert counted["telemed"] >= FEWEST
    assert {path.stem for path in HERE.iterdir()} == set(charts())


@pytest.mark.parametrize("chart", charts())
def test_a_schema_says_the_same_to_both_helms(chart: str) -> None:
    """Helm 3 reads draft 7: it skips newer keywords, and all that stands beside a `$ref`."""
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text())

    assert [path for path, part in parts(schema) if UNKNOWN_TO_HELM_3 & part.keys()] == []
    assert [path for path, part in parts(schema) if "$ref" in part and part.keys() - REMARKS != {"$ref"}] == []


@pytest.mark.parametrize("chart", charts())
def test_no_unknown_key_is_let_pass(chart: str) -> None:
    """Wherever a schema knows some keys of a table, it refuses all others: a typing mistake is no silent default."""
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text())

    assert [path for path, part in parts(schema) if part.get("type") == "object" and is_open(part)] == []


def is_open(part: dict[str, Any]) -> bool:
    """Tell whether some keys are named and others are let pass."""
    return "properties" in part and part.get("additionalProperties", True) is True


def parts(schema: object, path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema within a schema, with its path; values of `const` and `enum` are none."""
    if isinstance(schema, list):
        for number, part in enumerate(schema):
            yield from parts(part, f"{path}[{number}]")
    elif isinstance(schema, dict):
        # Among properties, `$ref` or `type` may be a name.
        if not path.endswith((".properties", ".patternProperties", ".definitions", ".$defs")):
            yield path, schema
        for key, part in schema.items():
            if key not in {"const", "enum", "default", "examples"} or path.endswith(".properties"):
                yield from parts(part, f"{path}.{key}")
