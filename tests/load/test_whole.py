"""`make load` from end to end, platform and all, at a size from which nothing is to be learned; takes a minute."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from telemed_load.platforms import DEFAULT_URL, is_answering

ROOT = Path(__file__).parents[2]


@pytest.mark.drill
@pytest.mark.parametrize("profile", ["steady", "surge", "stampede"])
def test_a_load_of_a_platform_of_its_own_has_a_verdict(profile: str, tmp_path: Path) -> None:
    """It starts one, loads it, looks for what was acknowledged, and leaves a verdict, a page and three pictures."""
    if is_answering(DEFAULT_URL):
        pytest.skip(f"the platform at {DEFAULT_URL} would be loaded")
    short = [] if profile == "stampede" else ["--seconds", "10"]
    command = [sys.executable, "-m", "telemed_load", "--profile", profile, *short, "--scale", "0.2"]

    ended = subprocess.run(
        [*command, "--results", str(tmp_path)],
        check=False, capture_output=True, text=True, timeout=400, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "load-tests"},
    )  # fmt: skip

    assert (tmp_path / "load-latest.json").exists(), ended.stdout + ended.stderr
    result = json.loads((tmp_path / "load-latest.json").read_text())
    assert {"met": 0, "missed": 1, "invalid": 2}[result["verdict"]] == ended.returncode
    assert (result["violations"], result["unexpected"], result["counts"]["unfinished"]) == ([], {}, 0)
    assert result["counts"]["sent_requests"] > 50
    assert result["counts"].get("nothing to start", 0) == 0  # enough was due before the window
    assert "were looked for in the database's tables" in result["correctness"]
    assert len(list(tmp_path.glob("*.png"))) == 3
    assert (tmp_path / "load-latest.html").exists()
