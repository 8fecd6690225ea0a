"""Runbooks, and what somebody on call would paste from them."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
RUNBOOKS = ROOT / "observability" / "runbooks"
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Return every runbook."""
    return sorted(RUNBOOKS.glob("*.md"))


def blocks(page: Path, language: str) -> Iterator[str]:
    """Give the code of the page that is in a language, without its indentation."""
    for _, name, text in _BLOCK.findall(page.read_text()):
        if name == language:
            yield textwrap.dedent(text)


def all_blocks(language: str) -> list[tuple[str, str]]:
    """Return (page, code) of every runbook."""
    return [(page.stem, text) for page in pages() for text in blocks(page, language)]


def parts(page: Path) -> dict[str, str]:
    """Return the page's parts by their heading."""
    _, *sections = re.split(r"^## ", page.read_text(), flags=re.MULTILINE)
    return {title.strip(): body for title, _, body in (section.partition("\n") for section in sections)}


def telemed_commands(page: Path) -> list[str]:
    """Return the `telemed …` commands that the page tells somebody to type."""
    text = page.read_text()
    found = re.findall(r"^ *\$ (telemed .*)$", text, re.MULTILINE) + re.findall(r"`(telemed [^`\n]*)`", text)
    inside = re.findall(r"-- (telemed [^`\n]*)", text)
    return [command for command in found + inside if "…" not in command]
