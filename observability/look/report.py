"""What came of the faults: a table for the terminal, and a file that keeps the latest of each."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from observability.look.configuration import EVERY, ROOT
from observability.look.scenario import Outcome

_COLUMNS = "{:7} {:14} {:33} {:7} {:>7} {:>7}  {}"


def table(outcomes: Sequence[Outcome]) -> str:
    """Write a line for each fault."""
    lines = [_COLUMNS.format("", "fault", "alert", "to", "called", "over", "besides")]
    for one in outcomes:
        besides = [*(f"NOT ALLOWED: {alert}" for alert in one.others), *one.also]
        besides += [f"{alert} (ticket)" for alert in one.tickets]
        besides += [f"itself again, {one.called_again} times"] if one.called_again else []
        lines.append(
            _COLUMNS.format(
                "held" if one.held else "FAILED",
                one.fault,
                one.expected,
                one.receiver,
                _seconds(one.called_after_seconds),
                _seconds(one.over_after_seconds) if one.must_end else "-",
                ", ".join(besides) or "nobody",
            )
        )
    return "\n".join(lines)


def keep(outcomes: Sequence[Outcome], file: Path, sooner: int) -> None:
    """Put the outcomes in the place of earlier ones of the same faults."""
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    kept |= {"scraped_every": EVERY, "tickets_sooner": sooner}
    of = {"date": datetime.now(UTC).date().isoformat(), "commit": _commit()}
    faults: dict[str, Any] = kept.setdefault("faults", {})
    faults |= {one.fault: asdict(one) | {"held": one.held} | of for one in outcomes}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.0f} s"


def _commit() -> str:
    # What an earlier fault of the same run left in the results is no change of what is looked at.
    commit = _git("rev-parse", "--short", "HEAD")
    others = (":/", ":(top,exclude)observability/look/results")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *others)
    return f"{commit}+changes" if changed else commit or "unknown"


def _git(*arguments: str) -> str:
    try:
        said = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return said.stdout.strip()
