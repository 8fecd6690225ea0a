"""Draws traces as text: a list of them, or one as a waterfall."""

from collections.abc import Sequence
from dataclasses import dataclass

from telemed.traces.reading import SpanLine
from telemed.traces.tree import branches, roots_of

_RED, _DIM, _PLAIN = "\x1b[31m", "\x1b[2m", "\x1b[0m"
# What the worker does for a request begins up to half a second later; in one scale nothing else would be seen.
_GAP_SECONDS = 0.05
_TEXT = "db.query.text"


@dataclass(frozen=True)
class Style:
    """How to draw: columns, colours, and signs beyond ASCII."""

    width: int = 100
    has_colour: bool = False
    is_unicode: bool = True

    def red(self, text: str) -> str:
        """Mark a failure."""
        return f"{_RED}{text}{_PLAIN}" if self.has_colour else text

    def dim(self, text: str) -> str:
        """Put into the background."""
        return f"{_DIM}{text}{_PLAIN}" if self.has_colour else text


@dataclass(frozen=True)
class Summary:
    """A trace in one line."""

    trace_id: str
    root: SpanLine
    spans: int
    services: tuple[str, ...]
    seconds: float
    failed: bool


def summary_of(spans: Sequence[SpanLine]) -> Summary:
    """Summarise a trace by its first root."""
    root = roots_of(spans)[0] if roots_of(spans) else spans[0]
    services = tuple(dict.fromkeys(span.service for span in spans))
    return Summary(root.trace_id, root, len(spans), services, root.seconds, any(span.failed for span in spans))


def table(summaries: Sequence[Summary], style: Style) -> str:
    """Draw the list."""
    lines = [style.dim(f"{'began':12} {'took':>10}  {'spans':>5}  {'status':6}  {'trace':32}  what")]
    for one in summaries:
        line = (
            f"{one.root.started_at:%H:%M:%S.%f}"[:12]
            + f" {_ms(one.seconds):>10}  {one.spans:>5}  {_status(one):6}  {one.trace_id}"
            + f"  {one.root.name}  ({', '.join(one.services)})"
        )
        lines.append(style.red(line) if one.failed else line)
    return "\n".join(lines)


def _status(one: Summary) -> str:
    # In words too, because most places where this is read have no colours.
    return "failed" if one.failed else str(one.root.attributes.get("http.response.status_code", "ok"))


def waterfall(spans: Sequence[SpanLine], style: Style, *, verbose: bool = False) -> str:
    """Draw one trace: a line for each span, and where its time lies in the whole.

    Long times in which nothing happened are cut out, and said.
    """
    first = spans[0].started_at
    starts = {span.span_id: (span.started_at - first).total_seconds() for span in spans}
    cuts = _gaps(spans, starts)
    shown = branches(spans)
    label = min(60, max(len(one.span.name) + 2 * one.depth for one in shown) + 1)
    room = max(10, style.width - label - 36)
    end = max(_moved(starts[span.span_id] + span.seconds, cuts) for span in spans) or 1e-6
    lines = [f"trace {spans[0].trace_id}  {first:%Y-%m-%d %H:%M:%S} UTC  {len(spans)} spans"]
    for one in shown:
        begins = _moved(starts[one.span.span_id], cuts)
        bar = _bar(begins / end, one.span.seconds / end, room, style)
        name = f"{'  ' * one.depth}{one.span.name}"
        name = name if len(name) <= label else f"{name[: label - 1]}~"
        times = f"{_ms(starts[one.span.span_id]):>10} {_ms(one.span.seconds):>10}"
        line = f"{name:{label}}|{bar}| {times}  {one.span.service}"
        error = one.span.attributes.get("error.type")
        line += f"  {error}" if error else ""
        lines.append(style.red(line) if one.span.failed else line)
        if verbose and _TEXT in one.span.attributes:
            lines.append(style.dim(f"{'':{label}} {one.span.attributes[_TEXT]}"))
    lines += [style.dim(f"({_ms(length)} after {_ms(at)} cut out: nothing happened)") for at, length in cuts]
    return "\n".join(lines)


def _gaps(spans: Sequence[SpanLine], starts: dict[str, float]) -> list[tuple[float, float]]:
    """Find when nothing happened for long: (where it begins, how long it is), in seconds."""
    gaps, until = [], 0.0
    for span in sorted(spans, key=lambda one: starts[one.span_id]):
        begins = starts[span.span_id]
        if begins - until > _GAP_SECONDS:
            gaps.append((until, begins - until))
        until = max(until, begins + span.seconds)
    return gaps


def _moved(at: float, cuts: Sequence[tuple[float, float]]) -> float:
    return at - sum(min(length, max(0.0, at - begins)) for begins, length in cuts)


def _bar(begins: float, share: float, room: int, style: Style) -> str:
    sign, nothing = ("█", "·") if style.is_unicode else ("#", ".")
    left = min(room - 1, int(begins * room))
    length = max(1, min(room - left, round(share * room)))
    return nothing * left + sign * length + nothing * (room - left - length)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:,.1f} ms"
