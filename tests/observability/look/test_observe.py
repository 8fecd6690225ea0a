"""`make observe` as a test: five in a hundred requests fail, and somebody is called."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from observability.look.configuration import ROOT


@pytest.mark.drill
@pytest.mark.timeout(1200)
def test_the_page_comes_within_two_minutes_and_goes_again(tmp_path: Path) -> None:
    """On the real platform, with the committed rules and routes; and nobody is called for anything else."""
    results = tmp_path / "results.json"
    command = [sys.executable, "-m", "observability.look", "observe", "--results", str(results)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1100, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    outcome = json.loads(results.read_text())["faults"]["errors"]
    assert outcome["called_after_seconds"] < 120
    assert outcome["others"] == []
