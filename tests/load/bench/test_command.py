"""Every benchmark from end to end, at a size from which nothing is to be learned; takes minutes (`make test-bench`)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.programs import require_program

from bench.command import BENCHES, main

BENCH = Path(__file__).parents[3] / "load-tests" / "bench"


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is started, and with the names that there are."""
    with pytest.raises(SystemExit) as ended:
        main(["--only", "cached-search,speed"])

    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert all(name in said for name in ("speed", *BENCHES))


@pytest.mark.drill
@pytest.mark.parametrize("name", BENCHES)
def test_a_benchmark_gives_figures_against_its_floor(name: str, tmp_path: Path) -> None:
    """It runs through, and what it writes has a floor and a value; whether they are good is not asked here."""
    if name == "pooler":
        require_program("pgbouncer")
    file = tmp_path / "bench.json"

    ended = subprocess.run(
        [sys.executable, BENCH, "--tiny", "--only", name, "--out", file],
        check=False, capture_output=True, text=True, cwd=tmp_path, timeout=240,
    )  # fmt: skip

    entries = json.loads(file.read_text()) if file.exists() else []
    assert ended.returncode in {0, 1}, ended.stdout + ended.stderr
    assert entries
    for entry in entries:
        assert entry["reason"] is None, entry
        assert entry["floor"] > 0, entry
        assert entry["value"] > 0, entry
        assert entry["met"] in {True, False}, entry
