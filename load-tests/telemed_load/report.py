"""Writes a run as one page that needs nothing else: no script, no address, pictures inside."""

import base64
from collections.abc import Mapping
from html import escape
from typing import Any

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #222 }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem }
th, td { text-align: left; padding: 0.25rem 0.6rem; border-bottom: 1px solid #ddd; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.verdict { padding: 0.1rem 0.6rem; border-radius: 0.3rem; color: white }
.met { background: #2e7d32 } .missed { background: #b00020 } .invalid { background: #6d4c00 }
img { max-width: 100% } code { background: #f4f4f4; padding: 0 0.2rem }
"""


def page(result: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """Give the page."""
    word = escape(result["verdict"])
    parts = [
        f"<h1>{escape(result['title'])} <span class='verdict {word}'>{word}</span></h1>",
        _list(result["reasons"]) or "<p>All gates are met, and every promise was kept.</p>",
        "<h2>Gates</h2>",
        _rows(
            ("gate", "requests", "good", "proven", "quantile", "at most", "limit", ""),
            [_gate(one) for one in result["gates"]],
        ),
        "<p>Times count from when a request was intended. “At most” is the upper end of the 95 % confidence of the "
        "quantile, and is what is compared with the limit; “proven” is the share of good ones that the true one is "
        "not below, with the same confidence.</p>",
        *(f"<h2>{escape(name.capitalize())}</h2>{_picture(name, content)}" for name, content in pictures.items()),
        "<h2>Requests</h2>",
        _rows(
            ("kind", "requests", "p50 ms", "p95 ms", "p99 ms", "answers"),
            [_kind(name, one) for name, one in result["kinds"].items()],
        ),
        "<h2>The server’s own histogram</h2>",
        _rows(
            ("gate", "requests here", "there", "within here", "there", "quantile here", "there", ""),
            [_comparison(one) for one in result["server_histogram"]],
        ),
        "<h2>Circumstances</h2>",
        _rows(("", ""), [(name, _told(result[name])) for name in CIRCUMSTANCES]),
    ]
    title = escape(f"{result['title']}: {result['verdict']}")
    head = f"<meta charset='utf-8'><title>{title}</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>\n"


CIRCUMSTANCES = (
    *(
        "command",
        "profile",
        "scale",
        "seconds",
        "seed",
        "requests_per_second",
        "platform",
        "platform_build",
        "data_set",
        "correctness",
    ),
    *("counts", "generator", "machine", "commit", "date"),
)


def _gate(one: Mapping[str, Any]) -> tuple[object, ...]:
    word = {True: "met", False: "missed", None: "-"}[one["is_met"]]
    timed = one["threshold_seconds"] is not None
    times = (one["quantile_seconds"], one["quantile_at_most_seconds"], one["threshold_seconds"])
    shown = [_seconds(time) if timed else "" for time in times]
    return one["title"], one["requests"], _percent(one["good_ratio"]), _percent(one["proven_ratio"]), *shown, word


def _kind(name: str, one: Mapping[str, Any]) -> tuple[object, ...]:
    answers = ", ".join(f"{said}: {times}" for said, times in one["statuses"].items())
    times = ("never" if one[place] is None else one[place] for place in ("p50_ms", "p95_ms", "p99_ms"))
    return name, one["requests"], *times, answers


COMPARED = {
    "compared": "agrees",
    "too few": "agrees in numbers; too few to compare times",
    "not promised": "agrees in numbers; no times are promised",
    "none": "none was sent",
}


def _comparison(one: Mapping[str, Any]) -> tuple[object, ...]:
    ratios = _percent(one["client_within_ratio"]), _percent(one["server_within_ratio"])
    quantiles = one["client_quantile_seconds"], one["server_quantile_seconds"]
    times = ("-", "-") if one["times"] == "none" else (_seconds(quantiles[0]), _seconds(quantiles[1]))
    agrees = one["disagreement"] or COMPARED[one["times"]]
    return one["slo"], one["client_requests"], one["server_requests"], *ratios, *times, agrees


def _rows(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{lines}</table>"


def _cell(value: object) -> str:
    numeric = isinstance(value, int | float)
    return f"<td{' class=number' if numeric else ''}>{escape('-' if value is None else str(value))}</td>"


def _told(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {part}" for name, part in value.items())
    if isinstance(value, list):
        return "; ".join(_told(part) for part in value)
    return str(value)


def _list(reasons: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(reason)}</li>' for reason in reasons)}</ul>" if reasons else ""


def _picture(name: str, content: bytes) -> str:
    return f"<img alt='{escape(name)}' src='data:image/png;base64,{base64.b64encode(content).decode()}'>"


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{100 * ratio:.3f} %"


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{1000 * seconds:.0f} ms"
