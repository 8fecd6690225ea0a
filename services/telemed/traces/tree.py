"""Puts the spans of one trace below one another."""

from collections.abc import Sequence
from dataclasses import dataclass

from telemed.traces.reading import SpanLine


@dataclass(frozen=True)
class Branch:
    """A span at its depth."""

    span: SpanLine
    depth: int


def roots_of(spans: Sequence[SpanLine]) -> list[SpanLine]:
    """Give those without a parent among them: the caller's is elsewhere, or was not written."""
    known = {span.span_id for span in spans}
    return [span for span in spans if span.parent_id not in known]


def branches(spans: Sequence[SpanLine]) -> list[Branch]:
    """Give every span once, each below its parent; spans that name each other as parent come last, as roots."""
    below: dict[str | None, list[SpanLine]] = {}
    for span in spans:
        below.setdefault(span.parent_id, []).append(span)
    seen: set[str] = set()
    found = []
    for first in (*roots_of(spans), *spans):
        # Not by recursion: a file may hold a chain of any length.
        waiting = [Branch(first, 0)]
        while waiting:
            branch = waiting.pop()
            if branch.span.span_id in seen:
                continue
            seen.add(branch.span.span_id)
            found.append(branch)
            waiting += [Branch(child, branch.depth + 1) for child in reversed(below.get(branch.span.span_id, []))]
    return found
