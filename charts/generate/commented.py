"""Reads a `values.yaml` with its comments: what `# --` says above a key is said of that key."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_MARK = re.compile(r"^\s*# -- ?(.*)$")
_MORE = re.compile(r"^\s*#(?! --) ?(.*)$")


@dataclass(frozen=True)
class Entry:
    """One key: its path from the top, its value, and what is said of it ("" if nothing)."""

    path: tuple[str, ...]
    default: Any  # whatever a value may be
    words: str
    is_group: bool  # a mapping whose keys are said something of themselves


def entries(path: Path) -> list[Entry]:
    """Give every key, in the file's order; keys below one that is described as a whole are left out."""
    text = path.read_text()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise TypeError(f"{path} is no mapping")
    return list(_entries(root, text.splitlines(), ()))


def _entries(node: yaml.MappingNode, lines: list[str], above: tuple[str, ...]) -> Iterator[Entry]:
    for key, value in node.value:
        path = (*above, str(key.value))
        below = list(_entries(value, lines, path)) if isinstance(value, yaml.MappingNode) else []
        is_group = any(entry.words for entry in below)
        # Of several on one line, the comment above is the first one's.
        is_first = not lines[key.start_mark.line][: key.start_mark.column].strip()
        words = _words_above(lines, key.start_mark.line) if is_first else ""
        yield Entry(path, _plain(value), words, is_group)
        if is_group:
            yield from below


def _words_above(lines: list[str], line: int) -> str:
    """Give what the comment right above a line says, from its last `# --` on."""
    words: list[str] = []
    for text in reversed(lines[:line]):
        if mark := _MARK.match(text):
            return " ".join([mark[1], *reversed(words)]).strip()
        if (more := _MORE.match(text)) is None:
            return ""
        words.append(more[1])
    return ""


def _plain(node: yaml.Node) -> Any:  # whatever a value may be
    return yaml.safe_load(yaml.serialize(node))
