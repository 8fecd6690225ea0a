"""The commands of the documents, as somebody copies them: each installs what every promised Kubernetes takes."""

import re
import shlex
from pathlib import Path

import pytest
from tests.charts.rendering import KUBERNETES, ROOT, parse, run_helm
from tests.charts.strictness import faults

NOT_OURS = {".venv", ".telemed", "node_modules"}
COMMAND = re.compile(r"^helm (?:upgrade --install|install) .+$", re.MULTILINE)
# What `helm template` has no use for: how long to wait, and for what.
NOT_RENDERED = {"--wait", "--atomic", "--create-namespace", "--install", "--rollback-on-failure"}
NOT_RENDERED_WITH_VALUE = {"--timeout", "--kube-context"}


def commands() -> list[tuple[Path, str]]:
    """Return the installations of our charts that documents show, with the lines that a backslash continues."""
    documents = [path for path in sorted(ROOT.rglob("*.md")) if not NOT_OURS & set(path.relative_to(ROOT).parts)]
    found = [
        (path, command) for path in documents for command in COMMAND.findall(path.read_text().replace("\\\n", " "))
    ]
    return [(path, command) for path, command in found if " charts/" in command]


def arguments(command: str) -> list[str]:
    """Return what of the command says what is installed."""
    words = iter(shlex.split(command, comments=True)[1:])
    kept = []
    for word in words:
        if word in NOT_RENDERED_WITH_VALUE:
            next(words)
        elif word not in NOT_RENDERED and word.partition("=")[0] not in NOT_RENDERED_WITH_VALUE:
            kept.append(word)
    return kept[1:] if kept[0] in {"upgrade", "install"} else kept


@pytest.mark.parametrize("helm", ["helm", "helm3"])
@pytest.mark.parametrize(
    ("document", "command"), commands(), ids=lambda value: value.name if isinstance(value, Path) else value[:60]
)
def test_a_documented_command_installs(
    document: Path, command: str, helm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the folder in which the document says it: that of the checkout."""
    monkeypatch.chdir(ROOT)

    manifests = parse(run_helm("template", *arguments(command), helm=helm))

    assert manifests, document
    for kubernetes in KUBERNETES:
        assert [fault for manifest in manifests for fault in faults(manifest, kubernetes)] == []


def test_the_readme_shows_how_to_install() -> None:
    """Application and data at least."""
    text = " ".join(command for path, command in commands() if path == ROOT / "README.md")
    assert " charts/telemed " in text
    assert " charts/telemed-data " in text
