"""What the image promises, as far as the files show from which it is built; README says what was built."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "services" / "Dockerfile"
LOCK = ROOT / "requirements" / "runtime.lock"
# Locked for other platforms than the image's.
ELSEWHERE = {"async-timeout", "colorama", "tzdata"}


@pytest.fixture(scope="module")
def stages() -> dict[str, list[str]]:
    """The instructions of each stage, one a line."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    name = ""
    for line in filter(None, text.splitlines()):
        stage = re.fullmatch(r"FROM \S+ AS (\S+)", line)
        if stage:
            name = stage.group(1)
        found.setdefault(name, []).append(line)
    return found


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sbom") / "telemed.cdx.json"
    write_bill(path)
    return path


def write_bill(path: Path) -> None:
    program = [sys.executable, str(ROOT / "requirements" / "sbom.py"), str(path)]
    answer = subprocess.run(program, capture_output=True, text=True, check=False, timeout=120)
    assert answer.returncode == 0, answer.stderr


def test_the_dockerfile_is_clean() -> None:
    """Nothing that a linter of Dockerfiles finds."""
    program = Path(sys.executable).with_name("hadolint")
    answer = subprocess.run([str(program), str(DOCKERFILE)], capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 0, answer.stdout


def test_what_runs_is_what_is_built_by_default(stages: dict[str, list[str]]) -> None:
    """The last stage is built when nobody names one."""
    assert list(stages)[-1] == "prod"
    assert stages["prod"][0] == "FROM ${PYTHON_IMAGE} AS prod"


@pytest.mark.parametrize("stage", ["prod", "dev"])
def test_nobody_is_root_and_the_end_is_orderly(stages: dict[str, list[str]], stage: str) -> None:
    """A number, because Kubernetes cannot see who a name is; SIGTERM, because SIGINT leaves the drain out."""
    users = [line for line in stages[stage] if line.startswith("USER ")]
    assert users == ["USER 10001:10001"]
    assert "STOPSIGNAL SIGTERM" in stages[stage]
    starts = [line for line in stages[stage] if line.startswith(("ENTRYPOINT ", "CMD "))]
    assert len(starts) == 2
    assert all(isinstance(json.loads(line.partition(" ")[2]), list) for line in starts)


def test_what_runs_needs_no_shell(stages: dict[str, list[str]]) -> None:
    """A base without one will do, as nothing is executed in the stage."""
    assert not [line for line in stages["prod"] if line.startswith(("RUN ", "SHELL ", "HEALTHCHECK "))]


def test_only_locked_wheels_are_fetched(stages: dict[str, list[str]]) -> None:
    """With their hashes; our own code needs no network."""
    installs = [line for stage in stages.values() for line in stage if "uv pip install" in line or "uv build" in line]
    fetching = [line for line in installs if "--offline" not in line]
    assert len(fetching) == 1
    for option in ("--require-hashes", "--no-deps", "--only-binary :all:", "requirements/runtime.lock"):
        assert option in fetching[0]


def test_the_version_is_that_of_the_package(stages: dict[str, list[str]]) -> None:
    """The label tells who looks at an image which release it is."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"ARG VERSION={version}" in stages["prod"]
    labels = "".join(line for line in stages["prod"] if line.startswith("LABEL "))
    for name in ("title", "version", "revision", "source", "base.name", "licenses"):
        assert f"org.opencontainers.image.{name}=" in labels


def test_all_that_is_copied_is_let_through() -> None:
    """.dockerignore lets in what is named; whoever copies more gets an empty place or an error."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    for source in " ".join(copied).split():
        assert [path for path in allowed if path == source or path.startswith(f"{source}/")], source
    for path in allowed:
        assert (ROOT / path).exists(), path


def test_the_bill_is_cyclonedx(bill: Path) -> None:
    """Whoever reads it has a validator as strict as this one."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill.read_text()) is None


def test_the_bill_lists_what_the_image_has(bill: Path) -> None:
    """Each with its version, its hashes and its licence; and nothing that only tests need."""
    parts: list[dict[str, Any]] = json.loads(bill.read_text())["components"]
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", LOCK.read_text(), re.MULTILINE))
    assert set(locked) >= ELSEWHERE
    listed = {canonicalize_name(part["name"]): part["version"] for part in parts}
    assert listed == {name: version for name, version in locked.items() if name not in ELSEWHERE}
    for part in parts:
        assert part["licenses"], part["name"]
        assert part["externalReferences"][0]["hashes"], part["name"]


def test_the_bill_knows_who_needs_whom(bill: Path) -> None:
    """A hole in a package is found from those who use it."""
    edges = {edge["ref"]: edge["dependsOn"] for edge in json.loads(bill.read_text())["dependencies"]}
    assert len([ref for ref in edges["telemed"] if ref.startswith("pkg:pypi/sqlmodel@")]) == 1
    reached = {"telemed"}
    while more := {ref for known in reached for ref in edges[known]} - reached:
        reached |= more
    assert reached == set(edges)


def test_the_bill_is_the_same_every_time(bill: Path, tmp_path: Path) -> None:
    """A difference means that the image is made of something else."""
    write_bill(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == bill.read_bytes()
