"""Writes what came of a run: the verdict for programs, a page for people, pictures."""

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from telemed_load.measurements import Measurements
from telemed_load.plots import draw_all
from telemed_load.problems import LoadProblem
from telemed_load.report import page
from telemed_load.shapes import Schedule
from telemed_load.verdict import Verdict

RESULTS = Path(__file__).parents[1] / "results"
ROOT = Path(__file__).parents[2]
LATEST = "load-latest.json"


@dataclass(frozen=True)
class Circumstances:
    """Under which a run was made."""

    profile: str
    command: str
    platform: str
    data_set: str
    correctness: str
    begun_at: datetime
    load_before: float
    others_ratio: float | None = None  # of the machine's CPU time


def require_writable(folder: Path) -> None:
    """Find out before the load, not after it.

    Raises:
        LoadProblem: nothing can be written there.
    """
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_text("", encoding="utf-8")
        probe.unlink()
    except OSError as error:
        raise LoadProblem(f"Results cannot be written to {folder}: {error.strerror}.") from error


def result_of(
    verdict: Verdict, schedule: Schedule, measured: Measurements, circumstances: Circumstances
) -> dict[str, Any]:
    """Put the verdict into the form that is written: no token, no address of a person."""
    profile = schedule.profile
    return {
        "verdict": verdict.word,
        "reasons": verdict.reasons,
        "gates": [one.to_json() for one in verdict.gates],
        "knee": asdict(verdict.knee) if verdict.knee else None,
        "server_histogram": [one.to_json() for one in verdict.comparisons],
        "violations": verdict.violations,
        "correctness": circumstances.correctness,
        "profile": circumstances.profile,
        "title": profile.title,
        "scale": schedule.scale,
        "seconds": profile.seconds,
        "seed": profile.seed,
        "requests": measured.requests,
        "requests_per_second": round(measured.requests / profile.seconds, 2),
        "counts": dict(sorted(measured.counts.items())),
        "unexpected": dict(measured.unexpected.most_common()),
        "kinds": {name: _kind(measured, name) for name in sorted(measured.kinds)},
        "generator": _generator(measured),
        "data_set": circumstances.data_set,
        "platform": circumstances.platform,
        "platform_build": _build(measured),
        "command": circumstances.command,
        "machine": machine(circumstances.load_before) | {"others_cpu_ratio": _rounded(circumstances.others_ratio)},
        "commit": commit(),
        "date": circumstances.begun_at.isoformat(timespec="seconds"),
    }


def write(folder: Path, result: dict[str, Any], schedule: Schedule, measured: Measurements) -> list[Path]:
    """Write everything; the latest verdict comes last, when all that it speaks of is there.

    Raises:
        LoadProblem: the folder cannot be written (any more).
    """
    stamp = result["date"].replace(":", "").replace("-", "").partition("+")[0]
    name = f"load-{Path(result['profile']).stem}-{stamp}"
    pictures = draw_all(schedule, measured)
    written = []
    try:
        for picture, content in pictures.items():
            written.append(folder / f"{name}-{picture}.png")
            written[-1].write_bytes(content)
        for target in (folder / f"{name}.html", folder / "load-latest.html"):
            target.write_text(page(result, pictures), encoding="utf-8")
            written.append(target)
        text = json.dumps(result, indent=2) + "\n"
        for target in (folder / f"{name}.json", folder / LATEST):
            draft = target.with_name(f".{target.name}.draft")
            draft.write_text(text, encoding="utf-8")
            draft.replace(target)
            written.append(target)
    except OSError as error:
        raise LoadProblem(f"Results cannot be written to {folder}: {error.strerror}.") from error
    return written


def machine(load_before: float) -> dict[str, Any]:
    """Describe this machine, and how busy it was before: others' work is in the figures, too."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average_before": round(load_before, 2),
        "load_average_after": round(os.getloadavg()[0], 2),
    }


def commit() -> str:
    """Name the commit, and say so if files were changed since."""
    revision = _git("rev-parse", "--short", "HEAD") or "unknown"
    return f"{revision} with changes" if _git("status", "--porcelain", "--", "services") else revision


def _git(*arguments: str) -> str:
    try:
        answer = subprocess.run(["git", "-C", str(ROOT), *arguments], check=False, capture_output=True, text=True)
    except OSError:
        return ""  # an image has no git
    return answer.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _kind(measured: Measurements, name: str) -> dict[str, Any]:
    kind = measured.kinds[name]
    quantiles = {f"p{text}_ms": _milliseconds(kind.latency.quantile(ratio)) for text, ratio in
                 (("50", 0.5), ("95", 0.95), ("99", 0.99))}  # fmt: skip
    return {"requests": kind.latency.count, **quantiles, "statuses": dict(kind.statuses.most_common())}


def _milliseconds(seconds: float) -> int | None:
    return round(seconds * 1000) if seconds < 1e6 else None


def _build(measured: Measurements) -> str:
    """Say what the platform is made of, by its own account; its commit may be another than this checkout's."""
    lines = (line for page in measured.scrapes.get("before", []) for line in page.splitlines())
    return next((line.rpartition(" ")[0] for line in lines if line.startswith("telemed_build_info{")), "unknown")


def _generator(measured: Measurements) -> list[dict[str, float]]:
    return [
        {
            "cpu_ratio_mean": round(sum(one.cpu_ratio for one in worker) / len(worker), 3),
            "cpu_ratio_highest": round(max(one.cpu_ratio for one in worker), 3),
            "lag_seconds_highest": round(max(one.lag_seconds for one in worker), 3),
        }
        for worker in measured.health
        if worker
    ]


def _rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(ratio, 3)


def now() -> datetime:
    """Give the instant."""
    return datetime.now(UTC)
