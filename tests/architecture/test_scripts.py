"""Every shell script of the checkout is clean, wherever it is: a linter finds what breaks only on another machine."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_OURS = {".venv", ".telemed", ".git", "node_modules", "results"}
SHELL = re.compile(rb"#!.*\b(sh|bash|dash)\b")


def scripts() -> list[Path]:
    """Return what begins like a shell script, whatever it is called."""
    files = [
        path
        for path in sorted(ROOT.rglob("*"))
        if path.is_file() and not path.is_symlink() and not NOT_OURS & set(path.relative_to(ROOT).parts)
    ]
    return [path for path in files if path.suffix in {"", ".sh"} and _first_line(path)]


def _first_line(path: Path) -> bool:
    with path.open("rb") as file:
        return SHELL.match(file.readline(200)) is not None or path.suffix == ".sh"


@pytest.mark.parametrize("script", scripts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_script_is_clean(script: Path) -> None:
    """Down to style; an exception is argued in the script."""
    program = Path(sys.executable).with_name("shellcheck")

    answer = subprocess.run(
        [str(program), "--external-sources", "--severity=style", str(script)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=script.parent,
    )

    assert answer.returncode == 0, answer.stdout


def test_the_scripts_are_found() -> None:
    """CI's own, which has no ending, and those in folders that are mounted into containers."""
    assert {ROOT / ".ci" / "run", ROOT / "services" / "compose" / "postgres" / "primary.sh"} <= set(scripts())
