"""Verdicts: as a file for programs, as a table for people."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.twin.history.model import Operation

FOLDER = Path(__file__).parents[1] / "results"
_COLUMNS = {
    "drill": "drill",
    "seed": "seed",
    "hits": "hits",
    "acked": "acked",
    "lost": "lost",
    "doubled": "doubled",
    "ghosts": "ghosts",
    "stale_reads": "stale",
    "unavailable_seconds": "down s",
    "failed_requests": "failed",
    "requests": "of",
    "took_seconds": "took s",
    "passed": "passed",
}


@dataclass
class Result:
    """One drill's verdict."""

    drill: str
    seed: int
    hits: int = 0  # how often the fault met what it was meant to meet; without one, nothing was shown
    acked: int = 0  # acknowledged writes
    lost: int = 0
    doubled: int = 0
    ghosts: int = 0
    unavailable_seconds: float = 0.0  # the worse of writes and reads; tests/twin/load/availability.py defines it
    failed_requests: int = 0  # requests whose first answer was none that they deserved
    passed: bool = False
    requests: int = 0
    resets: int = 0
    stale_reads: int = 0
    unavailable_writes_seconds: float = 0.0
    unavailable_reads_seconds: float = 0.0
    p95_ms: float = 0.0
    took_seconds: float = 0.0
    failed_by: dict[str, int] = field(default_factory=dict)  # failed requests by what was answered
    measured: dict[str, float] = field(default_factory=dict)  # what only this drill measures
    reasons: list[str] = field(default_factory=list)  # why it has not passed


def write(results: Sequence[Result], folder: Path = FOLDER) -> None:
    """Write latest.json and latest.txt after every drill: a campaign may be stopped."""
    folder.mkdir(exist_ok=True)
    (folder / "latest.json").write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    (folder / "latest.txt").write_text(table(results) + "\n")


def write_history(result: Result, history: Sequence[Operation], folder: Path = FOLDER) -> None:
    """Keep what the clients of a drill that has not passed did and saw, one operation a line, to look into it."""
    folder.mkdir(exist_ok=True)
    lines = (json.dumps(asdict(one), default=_as_json) for one in history)
    (folder / f"history-{result.drill}-{result.seed}.jsonl").write_text("\n".join(lines) + "\n")


def _as_json(value: object) -> object:
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()[:16]  # whether two are the same is all that matters
    return sorted(value) if isinstance(value, frozenset) else str(value)


def table(results: Sequence[Result]) -> str:
    """Lay the results out for people, reasons below."""
    rows = [list(_COLUMNS.values())]
    rows += [[_shown(getattr(result, name)) for name in _COLUMNS] for result in results]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for result in results:
        known = {f"failed: {said}": float(count) for said, count in result.failed_by.items()} | result.measured
        if known:
            shown = ", ".join(f"{name} {value:g}" for name, value in known.items())
            lines.append(f"  {result.drill} (seed {result.seed}) measured {shown}")
        lines += [f"  {result.drill} (seed {result.seed}): {reason}" for reason in result.reasons[:12]]
        if len(result.reasons) > 12:
            lines.append(f"  {result.drill}: and {len(result.reasons) - 12} more")
    return "\n".join(lines)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
