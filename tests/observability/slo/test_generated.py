"""What is generated from the objectives is what is committed, and does what its tests say."""

import json
import math
import re
import shutil
import subprocess
from decimal import Decimal
from itertools import chain
from pathlib import Path

import pytest
import yaml
from tests.observability.slo.replay import ROOT, RULES
from tests.support.programs import require_program
from typer.testing import CliRunner

from telemed.kernel.settings import SettingsProblem
from telemed.kernel.telemetry.metrics import LATENCY_BUCKETS
from telemed.slo.build import SPECIFICATIONS, TESTS, files, outdated
from telemed.slo.catalogue import Kind, load_slos
from telemed.slo.command import slo_app
from telemed.slo.windows import P95_GUARDS, PAIRS

SCENES = sorted((ROOT / TESTS).glob("*.yaml"))
SLOS = load_slos(ROOT / SPECIFICATIONS)


def test_what_is_committed_is_what_follows() -> None:
    """Rules, tests, gates, page and table, and nothing that is left over; otherwise: `telemed slo build`."""
    assert outdated(ROOT, files(ROOT)) == []


@pytest.mark.parametrize("scenes", SCENES, ids=lambda file: file.stem)
def test_every_alert_keeps_to_the_arithmetic(scenes: Path) -> None:
    """By Prometheus' own tool: outages, the objective just kept, no and little traffic, restarts, no series."""
    command = [require_program("promtool"), "test", "rules", str(scenes)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_every_alert_has_scenes() -> None:
    """One without would be promised by nobody."""
    spoken_of = set(re.findall(r'alertname="(\w+)"', "".join(file.read_text() for file in SCENES)))
    groups = chain.from_iterable(yaml.safe_load(file.read_text())["groups"] for file in RULES.glob("slo-*.yaml"))
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert alerts <= spoken_of


def test_a_threshold_is_an_edge_of_a_bucket() -> None:
    """Between two edges nothing is counted, and `le` is a text: 1 would find no bucket, 1.0 does."""
    edges = {str(float(edge)) for edge in LATENCY_BUCKETS}  # as the client library writes them
    for slo in SLOS:
        named = set(re.findall(r'le="([^"]+)"', slo.error_query + slo.total_query))
        assert named <= edges
        if slo.kind is Kind.LATENCY:
            assert slo.threshold_seconds is not None
            assert named == {str(float(slo.threshold_seconds))}


def test_chance_calls_once_in_ten_thousand_windows() -> None:
    """The fewest bad events are just enough: as many by chance, while the objective is kept, is that rare."""
    for pair in {*PAIRS, *P95_GUARDS}:
        if pair.factor > 1:
            expected = pair.least_bad / float(pair.factor)
            fewer = sum(expected**n / math.factorial(n) for n in range(pair.least_bad)) * math.exp(-expected)
            assert 1e-5 < 1 - fewer < 1e-4, pair


def test_thresholds_are_exact() -> None:
    """Those of the table in the SRE workbook, for 99.95 %."""
    thresholds = [pair.threshold(Decimal("0.0005")) for pair in PAIRS]
    assert thresholds == [Decimal("0.0072"), Decimal("0.003"), Decimal("0.0015"), Decimal("0.0005")]


def test_gates_are_the_objectives() -> None:
    """A load test reads them and no list of its own."""
    gates = json.loads((ROOT / "load-tests" / "gates.json").read_text())["gates"]
    assert {gate["slo"]: gate["objective_ratio"] for gate in gates} == {
        slo.name: float(slo.objective) / 100 for slo in SLOS if slo.kind is not Kind.FRESHNESS
    }


def test_an_objective_that_is_silent_is_refused(tmp_path: Path) -> None:
    """What it leaves out must be said, and a query must have a window."""
    text = (ROOT / SPECIFICATIONS / "availability.yaml").read_text()
    for wrong in (text.replace("      excluded:", "      left_out:"), text.replace("[{{.window}}]", "[5m]"), "a: ["):
        (tmp_path / "one.yaml").write_text(wrong)
        with pytest.raises(SettingsProblem, match=r"one\.yaml"):
            load_slos(tmp_path)


def test_check_says_what_differs(tmp_path: Path) -> None:
    """By its exit code and name, and writes nothing; build mends it."""
    for path in (
        SPECIFICATIONS,
        RULES.relative_to(ROOT),
        Path("load-tests/gates.json"),
        Path("docs"),
        Path("README.md"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / path).is_dir() else shutil.copy
        copy(ROOT / path, tmp_path / path)
    gates = tmp_path / "load-tests" / "gates.json"
    gates.write_text(gates.read_text().replace("0.9995", "0.5"))
    run = CliRunner().invoke
    answer = run(slo_app, ["build", "--check", "--root", str(tmp_path)])
    assert (answer.exit_code, "differs: load-tests/gates.json" in answer.output) == (1, True)
    assert run(slo_app, ["build", "--root", str(tmp_path)]).exit_code == 0
    assert run(slo_app, ["build", "--check", "--root", str(tmp_path)]).exit_code == 0
