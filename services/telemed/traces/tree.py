"""Puts the spans of one trace below one another."""

from collections.abc import Iterator, Sequence
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

    def walk(span: SpanLine, depth: int) -> Iterator[Branch]:
        if span.span_id in seen:
            return
        seen.add(span.span_id)
        yield Branch(span, depth)
        for child in below.get(span.span_id, []):
            yield from walk(child, depth + 1)

    found = [branch for root in roots_of(spans) for branch in walk(root, 0)]
    return found + [branch for span in spans if span.span_id not in seen for branch in walk(span, 0)]
