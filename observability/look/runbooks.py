"""What whoever is called does next: opens the alert's runbook, and pastes its queries."""

import re
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from observability.look.configuration import ROOT, RULES

RUNBOOKS = ROOT / "observability" / "runbooks"
# Also inside of a list, where it is indented.
_BLOCK = re.compile(r"^( *)```promql\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def page_of(alert: str) -> Path:
    """Give the page that the alert's own annotation names.

    Raises:
        KeyError: there is no such alert.
    """
    for file in RULES.glob("*.yaml"):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                if rule.get("alert") == alert:
                    return RUNBOOKS / str(rule["annotations"]["runbook_url"]).rpartition("/")[2]
    raise KeyError(alert)


def queries_of(page: Path) -> list[str]:
    """Give the queries of a page as they are pasted, one for each block."""
    return [textwrap.dedent(text).strip() for _, text in _BLOCK.findall(page.read_text())]


def silent(queries: Iterable[str], ask: Callable[[str], list[dict[str, Any]]]) -> tuple[str, ...]:
    """Paste them all, and give those that say nothing: of another cause, or of no use to anybody."""
    return tuple(query for query in queries if not ask(query))
