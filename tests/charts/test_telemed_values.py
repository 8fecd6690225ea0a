"""What is written of the values of charts/telemed, and where it comes from: the application, and their comments."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from charts.generate.__main__ import stale
from charts.generate.commented import Entry, entries
from charts.generate.settings import secret_names, settings_schema
from charts.generate.tables import BEGIN, END, tables, with_tables

from telemed.kernel.settings import Settings

CHART = Path(__file__).parents[2] / "charts" / "telemed"
VALUES = CHART / "values.yaml"
# What the chart has a reason of its own to say otherwise; the comments beside them say which.
OF_CLUSTERS = {"ENVIRONMENT", "HOST", "JWT_ALGORITHM", "TRUSTED_PROXIES"}


def values() -> dict[str, Any]:
    return yaml.safe_load(VALUES.read_text())  # type: ignore[no-any-return]  # a file of ours


def test_derived_files_are_up_to_date() -> None:
    """Schema and READMEs say what the code and the comments say now; `make charts` writes them."""
    assert [str(path) for path, _ in stale()] == []


@pytest.mark.parametrize("chart", sorted(CHART.parent.glob("*/values.yaml")), ids=lambda path: str(path.parent.name))
def test_every_value_has_a_comment(chart: Path) -> None:
    """One that nobody explains is one that nobody dares to change."""
    silent = [".".join(entry.path) for entry in entries(chart) if not entry.words and not entry.is_group]
    assert silent == []


def test_numbers_are_the_applications_own() -> None:
    """The chart computes with them (the grace of a pod, the pools): they must be those that the process would take."""
    given = {name: value for name, value in values()["settings"].items() if name not in OF_CLUSTERS}
    assert given == {name: Settings.model_fields[name.lower()].default for name in given}
    assert {"DRAIN_SECONDS", "SHUTDOWN_GRACE_SECONDS", "REQUEST_DEADLINE_SECONDS", "DATABASE_POOL_SIZE"} <= set(given)


def test_every_setting_can_be_given() -> None:
    """Each is a setting, a secret, or decided by the chart; none is forgotten."""
    left = {name.upper() for name in Settings.model_fields} - set(settings_schema()["properties"]) - set(secret_names())
    assert left == {
        "PORT",
        "MANAGEMENT_PORT",
        "JWT_PRIVATE_KEY_FILE",
        "JWT_PUBLIC_KEY_FILES",
        "AUDIT_SIGNING_KEY_FILE",
        "POSTGRES_HOST",
        "POSTGRES_PORT",
        "POSTGRES_USER",
        "POSTGRES_PASSWORD",
        "POSTGRES_DB",
    }


def test_every_secret_has_a_place() -> None:
    """The values say of each where it is expected."""
    assert set(values()["secrets"]) == set(secret_names())


def test_no_secret_is_a_setting() -> None:
    """What is a setting is readable by whoever may read a Deployment."""
    assert set(secret_names()) & set(settings_schema()["properties"]) == set()
    assert {"DATABASE_URL", "REPLICA_DATABASE_URLS", "PEPPER", "JWT_SECRET", "REDIS_URL"} <= set(secret_names())


def test_the_readme_shows_every_example() -> None:
    """An example that nobody finds helps nobody."""
    text = (CHART / "README.md").read_text()
    assert [path.name for path in (CHART / "examples").glob("*.yaml") if f"examples/{path.name}" not in text] == []


def read(folder: Path, text: str) -> list[Entry]:
    file = folder / "values.yaml"
    file.write_text(text)
    return entries(file)


def test_a_comment_belongs_to_the_key_below_it(tmp_path: Path) -> None:
    """From its last mark on, over several lines; a plain comment, or one further up, says nothing of it."""
    a, b, c, d = read(
        tmp_path,
        "# -- No.\n\n# -- Words of\n# more than one line.\na: 1\n# plain\nb: 2\n# -- No.\n# -- Yes.\nc: 3\nd: 4\n",
    )
    assert [entry.words for entry in (a, b, c, d)] == ["Words of more than one line.", "", "Yes.", ""]
    assert [entry.default for entry in (a, b, c, d)] == [1, 2, 3, 4]


def test_what_is_described_as_a_whole_is_one_row(tmp_path: Path) -> None:
    """Its parts have no rows; where the parts are described, they have."""
    text = "# -- Whole.\nx: {y: 1}\n# -- Group.\nz:\n  # -- Part.\n  v: []\n"
    found = read(tmp_path, text)
    assert [(entry.path, entry.is_group) for entry in found] == [(("x",), False), (("z",), True), (("z", "v"), False)]
    assert tables(found).splitlines() == [
        "| value | default | what |",
        "|---|---|---|",
        '| `x` | `{"y": 1}` | Whole. |',
        "",
        "### `z`",
        "",
        "Group.",
        "",
        "| value | default | what |",
        "|---|---|---|",
        "| `z.v` | `[]` | Part. |",
    ]


def test_only_what_stands_between_the_marks_is_written(tmp_path: Path) -> None:
    """The rest of a README is its author's; one without the marks is refused."""
    read(tmp_path, "# -- Words.\na: 1\n")
    text = with_tables(f"before {BEGIN} old {END} after", tmp_path / "values.yaml")
    assert text.startswith(f"before {BEGIN}\n")
    assert text.endswith(f"{END} after")
    assert "old" not in text
    assert "Words." in text
    with pytest.raises(ValueError, match=r"README\.md has no line"):
        with_tables("nothing", tmp_path / "values.yaml")
