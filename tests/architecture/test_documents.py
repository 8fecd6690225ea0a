"""What the documents say is so: links lead somewhere, diagrams are diagrams, every setting is explained."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from telemed.cli import app
from telemed.contracts import events
from telemed.kernel.settings import Settings

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "docs" / "decisions"
NOT_OURS = {".venv", ".telemed", ".pytest_cache", "node_modules"}
DIAGRAMS = {"flowchart", "sequenceDiagram", "erDiagram", "stateDiagram-v2", "classDiagram", "gantt"}
PARTS = ("Context", "Decision", "Consequences", "Alternatives")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
# A path of this checkout as documents write it, in backticks.
_PATH = re.compile(r"`((?:services|tests|docs|requirements|observability)/[\w./-]+)`")
VERSIONS = ROOT / "services" / "telemed" / "migrations" / "versions"
# What the README's example of a new field would make, under the next free number: another one stops who follows it.
IMAGINED = {f"{VERSIONS.relative_to(ROOT)}/{len(list(VERSIONS.glob('0*.py'))) + 1:04}_years_of_practice.py"}


def documents() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("*.md")) if not NOT_OURS & set(path.relative_to(ROOT).parts)]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", documents(), ids=named)
def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link names a file, and every anchor a heading of it."""
    prose = _FENCE.sub("", document.read_text())
    for link in _LINK.findall(prose):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        if anchor:
            assert anchor in {
                _anchor(heading) for heading in re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            }


@pytest.mark.parametrize("document", documents(), ids=named)
def test_paths_exist(document: Path) -> None:
    """Every path that is named as code is in the checkout."""
    if document.name == "CHANGELOG.md":
        return  # tells what was
    for name in set(_PATH.findall(document.read_text())) - IMAGINED:
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("document", documents(), ids=named)
def test_diagrams_are_of_a_known_type(document: Path) -> None:
    """A typing mistake in the first word shows a reader an error in place of the picture."""
    for language, text in _FENCE.findall(document.read_text()):
        if language == "mermaid":
            assert text.split(maxsplit=1)[0] in DIAGRAMS
            assert text.count("[") == text.count("]")
            assert text.count('"') % 2 == 0


def test_the_readme_explains_every_setting() -> None:
    """Each setting has a row, and each row a setting."""
    section = _section((ROOT / "README.md").read_text(), "Configuration")
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", section, re.MULTILINE)) == {
        name.upper() for name in Settings.model_fields
    }


def test_the_example_of_an_environment_names_what_is_used() -> None:
    """A misspelt name would be ignored without a word, as an environment holds much else."""
    names = set(re.findall(r"^(?:# )?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    used = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    assert names - {"COMPOSE_PROFILES"} == used - {"COMPOSE_PROJECT_NAME"}  # these are Compose's own


def test_the_readme_lists_every_target() -> None:
    """What `make help` lists is in the README."""
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    section = _section((ROOT / "README.md").read_text(), "Commands")
    assert [target for target in targets if f"`make {target}`" not in section] == []


def test_the_readme_lists_every_command() -> None:
    """Each `telemed` command and each command of its groups has its place in the table."""
    section = _section((ROOT / "README.md").read_text(), "Commands")
    rows = [row for row in section.splitlines() if row.startswith("| `telemed ")]
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]  # it is a group
        (row,) = [row for row in rows if row.startswith(f"| `telemed {name}")]
        for sub_name in getattr(command, "commands", ()):
            assert f"`{sub_name}`" in row or f"{name} {sub_name}`" in row


def test_the_architecture_names_every_action_and_event() -> None:
    """The vocabulary of the trail and of the outbox is the code's, both ways."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    source = "".join(
        path.read_text() for path in (ROOT / "services" / "telemed").rglob("*.py") if "local" not in path.parts
    )
    used = set(re.findall(r"(?:AuditEntry\(|_entry\(|action=)\s*\"([a-z_]+\.[a-z_]+)\"", source)) | {"session.login"}
    assert set(re.findall(r"`([a-z_]+\.[a-z_]+)`", _section(text, "Audit actions"))) == used
    types = {value for name, value in vars(events).items() if name.isupper()}
    assert set(re.findall(r"`([a-z_]+\.[a-z_]+)`", _section(text, "Events"))) == types


def test_the_architecture_names_every_table() -> None:
    """Schema by schema, without partitions: what is not named is looked for in vain."""
    made = re.findall(r"CREATE TABLE (\w+)\.(\w+)", "".join(path.read_text() for path in VERSIONS.glob("0*.py")))
    expected = {table for table in made if not table[1].endswith("_default")}
    (sentence,) = re.findall(r"^Schemas: (.*?)\. ", (ROOT / "docs" / "architecture.md").read_text(), re.M | re.S)
    lists = re.findall(r"`(\w+)` \(([\w,\s]+)\)", sentence)

    assert {(schema, table) for schema, tables in lists for table in re.findall(r"\w+", tables)} == expected


def test_every_decision_is_listed_and_complete() -> None:
    """The index names each page by its own title; each page has every part."""
    index = (DECISIONS / "0001-record-decisions.md").read_text()
    for page in sorted(DECISIONS.glob("*.md")):
        text = page.read_text()
        number, title = re.match(r"# (\d{4}): (.+)\n", text).groups()  # type: ignore[union-attr]  # no match fails as well
        assert page.name.startswith(number)
        assert title in index, f"{page.name}: the index has another title"
        missing = [part for part in PARTS if f"\n## {part}\n" not in text]
        assert missing == [], f"{page.name}: {missing}"
        assert "Enforced by" in text, page.name


def _section(text: str, heading: str) -> str:
    """Give the part of a document below one heading of the second level."""
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
