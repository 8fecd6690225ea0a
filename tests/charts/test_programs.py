"""Helm and kubectl come with the environment; a machine's own serve where they do not, if they are the right ones."""

import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.charts import programs
from tests.charts.programs import MissingProgram, must_be_there, program


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of PATH on a machine whose environment brought nothing."""
    monkeypatch.setattr("sys.executable", str(tmp_path / "environment" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    programs.program.cache_clear()
    yield tmp_path
    programs.program.cache_clear()


def install(folder: Path, name: str, says: str) -> str:
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{says}'\n")
    file.chmod(0o755)
    return str(file)


@pytest.mark.parametrize(
    ("name", "version"), [("helm", "v4.3.1+gc0d08d0"), ("helm3", "v3.17.2+gcc0bbbd"), ("kubectl", "v1.37.1")]
)
def test_the_environment_has_the_pinned_ones(name: str, version: str) -> None:
    """What is proven is proven for these."""
    if not (Path(sys.executable).parent / name).exists() and not must_be_there():
        pytest.skip("the machine's own may be of another version")
    assert programs.answer_of(program(name), name).strip().startswith((version, f"Client Version: {version}"))


def test_the_machines_own_serve_if_they_are_the_right_ones(machine: Path) -> None:
    """A Helm 3 called helm is taken for Helm 3, and never for Helm 4."""
    helm = install(machine, "helm", "v3.17.0")

    assert program("helm3") == helm
    with pytest.raises(MissingProgram, match="helm is missing: `make install-dev`"):
        program("helm")


def test_a_missing_program_is_a_failure_only_where_it_is_brought(monkeypatch: pytest.MonkeyPatch) -> None:
    """On CI's Linux a skipped test would look like a passed one; a Mac has nothing to install."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    for system, ci, fails in (("Linux", "true", True), ("Linux", "", False), ("Darwin", "true", False)):
        monkeypatch.setattr(platform, "system", lambda system=system: system)
        monkeypatch.setenv("CI", ci)
        assert must_be_there() is fails
