"""Runbooks: what is pasted from them works, and the way from one to the next is not broken."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from tests.charts.observability.queries import labels_by_metric, unknown_in
from tests.observability.runbooks.pages import all_blocks, blocks, pages, parts, telemed_commands

from telemed.cli import app

PARTS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
# Metrics in sentences: functions, roles and databases are called telemed_… too, but end otherwise.
_NAMED = re.compile(r"`(telemed_\w+_(?:total|seconds|open|length|events|months|rows|breaks|violations))\b")
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def each_page() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)


@each_page()
def test_a_page_has_its_parts_in_order(page: Path) -> None:
    """Somebody at night finds each where it always is, and something in it."""
    assert list(parts(page)) == PARTS
    assert all(len(body.strip()) > 40 for body in parts(page).values())


@each_page()
def test_a_diagnosis_begins_with_a_query(page: Path) -> None:
    """The alert says that; the query says how much, where and since when."""
    assert "```promql" in parts(page)["Diagnosis"]


@pytest.mark.parametrize(("page", "query"), all_blocks("promql"))
def test_a_query_asks_for_what_there_is(page: str, query: str) -> None:
    """Pasted, it is understood, and names what somebody shows."""
    assert unknown_in(query) == set(), page


@each_page()
def test_a_metric_that_is_named_exists(page: Path) -> None:
    """Also in sentences."""
    known = labels_by_metric()
    families = known.keys() | {re.sub(r"_(bucket|sum|count)$", "", name) for name in known}
    named = set(
        re.findall(r"`(telemed_\w+_(?:total|seconds|open|length|events|months|rows|breaks))\b", page.read_text())
    )
    assert named - families == set()


@each_page()
def test_a_link_leads_somewhere(page: Path) -> None:
    """To another page, or into the repository."""
    for target in _LINK.findall(page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@each_page()
def test_a_command_of_ours_exists(page: Path) -> None:
    """With every option that is given."""
    for command in telemed_commands(page):
        assert_exists(shlex.split(command)[1:])


@each_page()
def test_commands_begin_with_a_prompt(page: Path) -> None:
    """A console block holds what is typed, and its programs are ones that somebody on call has."""
    programs = {"kubectl", "helm", "telemed", "curl", "openssl", "amtool", "promtool", "make"}
    for block in blocks(page, "console"):
        for line in block.strip().splitlines():
            assert line.startswith("$ "), line
            assert line.split()[1] in programs


def assert_exists(words: list[str]) -> None:
    """Follow the words through our command line."""
    command = typer.main.get_command(app)
    context = typer.Context(command)
    while isinstance(command, typer.core.TyperGroup) and words and not words[0].startswith("-"):
        found = command.get_command(context, words.pop(0))
        assert found is not None
        command = found
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= options
