"""Runs rules on a history as Prometheus would, by `promtool test rules`, and asks what came of it."""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from tests.observability.slo.truth import STEP, Events
from tests.support.programs import require_program

ROOT = Path(__file__).parents[3]
RULES = ROOT / "charts" / "telemed-observability" / "rules"
_RECORDED = ("total:rate", "bad:rate", "error:ratio_rate")
_GOT = re.compile(r'expr: "(.*)", time: .*\n.*\n +got: (.*)')

Rules = dict[str, Any]  # a file of rules, as Prometheus reads it


def rules_of(slo: str, *names: str) -> Rules:
    """Give the committed rules; with *names*, only those that record these series, or are these alerts.

    A replay takes as long as there are rules.
    """
    rules: Rules = yaml.safe_load((RULES / f"slo-{slo}.yaml").read_text())
    for group in rules["groups"] if names else []:
        group["rules"] = [rule for rule in group["rules"] if rule.get("record", rule.get("alert")) in names]
    return rules


def page_rules(slo: str, *alerts: str) -> Rules:
    """Give alerts that page, with what they are made of."""
    direct = [f"telemed:slo_{what}{window}" for what in _RECORDED for window in ("5m", "10m", "30m", "1h")]
    return rules_of(slo, *alerts, *direct, "telemed:slo_error:ratio_rate6h", "telemed:slo_bad:increase6h")


def availability_series(
    events: Sequence[Events], namespace: str = "telemed", *, has_bad: bool = True
) -> dict[str, str]:
    """Give the requests' counters as each step's end shows them, beginning with a scrape at zero."""
    labels = f'namespace="{namespace}", service="booking", method="GET", route="/booking/slots/search", traffic="user"'
    name = f'telemed_http_requests_total{{{labels}, pod="booking-0", status='
    good = {f'{name}"200"}}': _counter([event.total - event.bad for event in events], events)}
    return good | ({f'{name}"500"}}': _counter([event.bad for event in events], events)} if has_bad else {})


def reads_series(events: Sequence[Events], namespace: str = "telemed") -> dict[str, str]:
    """Give the histogram of reads, of which the bad ones took longer than 200 ms."""
    labels = f'namespace="{namespace}", service="booking", method="GET", route="/booking/slots/search", traffic="user"'
    labels += ', pod="booking-0", status_class="2xx"'
    name = "telemed_http_request_duration_seconds"
    return {
        f'{name}_bucket{{{labels}, le="0.2"}}': _counter([event.total - event.bad for event in events], events),
        f"{name}_count{{{labels}}}": _counter([event.total for event in events], events),
    }


def fired(alerts: Sequence[str], namespace: str, seconds: int) -> Mapping[str, str]:
    """Ask when one of these alerts fired first and last, in seconds from the start."""
    firing = f'ALERTS{{alertname=~"{"|".join(alerts)}", namespace="{namespace}", alertstate="firing"}}'
    when = f"timestamp({firing})[{seconds}s:{STEP}s]"
    return {f"{namespace} first": f"min(min_over_time({when}))", f"{namespace} last": f"max(max_over_time({when}))"}


def replay(
    folder: Path,
    rules: Rules,
    series: Mapping[str, str],
    questions: Mapping[str, str],
    *,
    at: int,
    step: int = STEP,
    every: int = STEP,
) -> dict[str, float]:
    """Evaluate the rules *every* so many seconds over scrapes each *step*, and answer the questions; none: no answer.

    promtool shows values only where it expects others, and then rounded: so nothing is expected, and each value is
    asked for as a label.
    """
    asked = {f'count_values("answer", {question})': name for name, question in questions.items()}
    test = {
        "interval": f"{step}s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": text, "eval_time": f"{at}s", "exp_samples": []} for text in asked],
    }
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    file = folder / "test.yaml"
    # JSON is YAML, and is written in no time.
    file.write_text(json.dumps({"rule_files": ["rules.yaml"], "evaluation_interval": f"{every}s", "tests": [test]}))
    command = [require_program("promtool"), "test", "rules", str(file)]
    output = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert "err:" not in output.stdout + output.stderr, output.stdout + output.stderr
    return {
        asked[json.loads(f'"{text}"')]: float(answer)
        for text, got in _GOT.findall(output.stdout + output.stderr)
        for answer in re.findall(r'answer="([^"]*)"', got)
    }


def _counter(increments: Sequence[int], events: Sequence[Events]) -> str:
    values, count = ["0"], 0
    for increment, event in zip(increments, events, strict=True):
        count = 0 if event.restarts else count + increment  # what came since the last scrape is lost
        values.append(str(count))
    return " ".join(values)
