"""What Prometheus and Alertmanager are told: the committed rules and routes, of this machine's processes."""

import json
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts" / "telemed-observability" / "rules"
ALERTMANAGER = ROOT / "observability" / "alertmanager" / "alertmanager.yml"
EVERY = "5s"  # scraped and evaluated; in production every 15 or 30, which delays a page by as much
# Pods as Prometheus sees them: which of them belong together, and the job of its that finds them.
JOBS = {"telemed-api": ("api-0", "api-1"), "telemed-worker": ("worker-0",)}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def write_configurations(folder: Path, ports: dict[str, int], receiver: int, sooner: int) -> None:
    """Write everything into *folder*; tickets come so many times sooner than they would."""
    (folder / "rules").mkdir()
    for file in RULES.glob("*.yaml"):
        (folder / "rules" / file.name).write_text(yaml.safe_dump(adapted(yaml.safe_load(file.read_text()), sooner)))
    (folder / "targets").mkdir()
    for job in JOBS:
        write_targets(folder, job, ports)
    (folder / "prometheus.yml").write_text(json.dumps(configuration_of_prometheus(ports)))
    (folder / "alertmanager.yml").write_text(json.dumps(configuration_of_alertmanager(receiver, sooner)))


def write_targets(folder: Path, job: str, ports: dict[str, int]) -> None:
    """Say which pods a job has: those that have a port."""
    found = [
        {"targets": [f"127.0.0.1:{ports[pod]}"], "labels": {"namespace": "local", "pod": pod}}
        for pod in JOBS[job]
        if pod in ports
    ]
    draft = folder / "targets" / f"{job}.draft"
    draft.write_text(json.dumps(found))
    draft.replace(draft.with_suffix(".json"))  # whole or not at all: Prometheus reads it at any moment


def configuration_of_prometheus(ports: dict[str, int]) -> dict[str, Any]:
    """Scrape as the charts do: labels of pods come from outside, labels of ours stay."""
    return {
        "global": {"scrape_interval": EVERY, "evaluation_interval": EVERY},
        "rule_files": ["rules/*.yaml"],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{ports['alertmanager']}"]}]}],
        },
        "scrape_configs": [
            {
                "job_name": job,
                "honor_labels": True,
                "file_sd_configs": [{"files": [f"targets/{job}.json"], "refresh_interval": EVERY}],
            }
            for job in JOBS
        ],
    }


def configuration_of_alertmanager(receiver: int, sooner: int = 1) -> dict[str, Any]:
    """Give the committed routes and inhibitions, with our own receiver in place of the one that they name."""
    committed = yaml.safe_load(ALERTMANAGER.read_text())
    for one in committed["receivers"]:
        for hook in one["webhook_configs"]:
            hook["url"] = f"http://127.0.0.1:{receiver}/{one['name']}"
    for route in (committed["route"], *committed["route"]["routes"]):
        if route["receiver"] == "ticket":
            route |= {name: shortened(route[name], sooner) for name in ("group_wait", "group_interval")}
    return dict(committed)


def adapted(rules: dict[str, Any], sooner: int) -> dict[str, Any]:
    """Evaluate as often as is scraped, and let tickets wait less; what a page waits for is never changed."""
    for group in rules["groups"]:
        if group.get("interval") == "15s":
            del group["interval"]
        for rule in group["rules"]:
            if rule.get("labels", {}).get("severity") == "ticket" and "for" in rule:
                rule["for"] = shortened(rule["for"], sooner)
    return rules


def shortened(duration: str, times: int) -> str:
    """Divide a duration of one unit, to the second."""
    return duration if times == 1 else f"{int(duration[:-1]) * _UNITS[duration[-1]] // times}s"
