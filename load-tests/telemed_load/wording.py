"""What the command prints: progress in lines, the verdict as a short table."""

import sys
from typing import Any


def say(sentence: str) -> None:
    """Print a line at once."""
    print(sentence, flush=True)


def complain(sentence: str) -> None:
    """Print what is wrong where errors go."""
    print(f"load: {sentence}", file=sys.stderr, flush=True)


def table(result: dict[str, Any]) -> str:
    """Give the verdict as people read it."""
    lines = [f"{'gate':24} {'requests':>9} {'good':>9} {'p95/p99':>9} {'at most':>9} {'limit':>8}  "]
    for gate in result["gates"]:
        word = {True: "met", False: "MISSED", None: "-"}[gate["is_met"]]
        lines.append(
            f"{gate['title'][:24]:24} {gate['requests']:>9} {_percent(gate['good_ratio']):>9} "
            f"{_ms(gate['quantile_seconds'], gate):>9} {_ms(gate['quantile_at_most_seconds'], gate):>9} "
            f"{_ms(gate['threshold_seconds'], gate):>8}  {word}"
        )
    if result.get("knee"):
        knee = result["knee"]
        lines.append(f"held {_rate(knee['held_requests_per_second'])}, "
                     f"missed at {_rate(knee['missed_at_requests_per_second'])}")  # fmt: skip
        lines += [f"  - {missed}" for missed in knee["missed"]]
    lines += ["", f"verdict: {result['verdict']}", *(f"  - {reason}" for reason in result["reasons"])]
    return "\n".join(lines)


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{100 * ratio:.2f} %"


def _ms(seconds: float | None, gate: dict[str, Any]) -> str:
    if gate["threshold_seconds"] is None or not gate["requests"]:
        return ""
    return "never" if seconds is None else f"{1000 * seconds:.0f} ms"


def _rate(rate: float | None) -> str:
    return "nothing" if rate is None else f"{rate:.0f} requests a second"
