"""The values of a chart as Markdown, from the comments in its `values.yaml`."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from charts.generate.commented import Entry, entries

BEGIN = "<!-- values: written by `make charts` from values.yaml -->"
END = "<!-- end of values -->"


def with_tables(readme: str, values: Path) -> str:
    """Give the README with what stands between its two marks written anew.

    Raises:
        ValueError: a mark is missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md has no line {BEGIN!r} or no line {END!r} after it")
    return f"{before}{BEGIN}\n\n{tables(entries(values))}\n{END}{after}"


def tables(every: Sequence[Entry]) -> str:
    """Give one table for the single values, and one with a heading for each group at the top."""
    single = [entry for entry in every if len(entry.path) == 1 and not entry.is_group]
    parts = [_table(single)]
    for group in every:
        if len(group.path) == 1 and group.is_group:
            below = [entry for entry in every if entry.path[0] == group.path[0] and len(entry.path) > 1]
            words = f"{group.words}\n\n" if group.words else ""
            parts.append(f"### `{group.path[0]}`\n\n{words}{_table(below)}")
    return "\n".join(parts)


def _table(rows: Sequence[Entry]) -> str:
    return "\n".join(["| value | default | what |", "|---|---|---|", *_rows(rows)]) + "\n"


def _rows(rows: Sequence[Entry]) -> Iterator[str]:
    for entry in rows:
        if entry.is_group and not entry.words:
            continue
        default = "" if entry.is_group else f"`{json.dumps(entry.default, ensure_ascii=False)}`"
        yield f"| `{'.'.join(entry.path)}` | {_cell(default)} | {_cell(entry.words)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
