"""Floors: who may import whom, between packages and inside a feature."""

import ast
import re
import tomllib
from collections import defaultdict
from pathlib import Path

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports
from tests.support.source import modules

CONFIG = Path(__file__).parents[2] / "pyproject.toml"
# Inside a feature, from the top; each may import what stands below it.
FLOORS = ["routes", "operations", "queries", "models", "schemas", "rules"]
# What rules may import besides each other: nothing that reads, writes, waits or knows the time by itself.
PURE = {
    *("collections", "dataclasses", "datetime", "enum", "hashlib", "hmac", "math", "re", "statistics", "typing"),
    *(
        "unicodedata",
        "uuid",
        "zoneinfo",
        "ipaddress",
        "functools",
        "itertools",
        "operator",
        "string",
        "decimal",
        "json",
        "bisect",
    ),
}

PURE_OF_OURS = ("telemed.contracts", "telemed.kernel.acts", "telemed.kernel.problems", "telemed.kernel.text")


def test_the_floors_of_packages_are_kept() -> None:
    """cli → local, smoke → services (never each other) → contracts → kernel; new packages are placed on purpose."""
    floors = tomllib.loads(CONFIG.read_text())["tool"]["importlinter"]["contracts"][0]
    assert (floors["type"], floors["exhaustive"]) == ("layers", True)
    assert floors["layers"] == [
        "cli",
        "local | smoke | capacity | slo | traces",
        "auth | booking | consultation | audit | worker",
        "contracts",
        "kernel",
    ]
    assert lint_imports(config_filename=str(CONFIG), no_cache=True) == EXIT_STATUS_SUCCESS


def test_nothing_imports_a_floor_above_its_own() -> None:
    """Inside a feature: routes → operations → queries → models | schemas → rules."""
    wrong = []
    for module in modules(outside=("local/", "migrations/")):
        own = module.path.stem
        if own not in FLOORS:
            continue
        above = FLOORS[: FLOORS.index(own)]
        if own in {"schemas", "rules"}:
            # A reply is made of what a table holds, and a rule may name what it decides about.
            above = above[:3]
        wrong += [
            f"{module.place} imports {name}"
            for name in module.imports()
            if name.startswith("telemed.") and name.rpartition(".")[2] in above
        ]
    assert not wrong, "\n".join(wrong)


def test_rules_are_pure() -> None:
    """A decision needs no database, no clock and no framework to be tested."""
    wrong = []
    for module in modules():
        if module.path.stem != "rules":
            continue
        for name in module.imports():
            is_ours = name.startswith(PURE_OF_OURS) or _may_be_named(name)
            if name.partition(".")[0] not in PURE and not is_ours:
                wrong.append(f"{module.place} imports {name}")
        wrong += [
            f"{module.place}:{node.lineno} is async"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.AsyncFunctionDef)
        ]
    assert not wrong, "\n".join(wrong)


def _may_be_named(name: str) -> bool:
    words = {"rules", "models", "schemas", "problems"}
    return name.startswith("telemed.") and bool(words & set(name.split(".")))


def test_every_module_says_what_it_is_for() -> None:
    """A newcomer reads the first line of a module first."""
    silent = [module.place for module in modules() if module.text.strip() and not ast.get_docstring(module.tree)]
    assert not silent


def test_module_names_mean_something() -> None:
    """No module for what nobody could name."""
    empty = {"utils", "util", "helpers", "common", "manager", "misc", "data", "info", "part2"}
    assert not [module.place for module in modules() if empty & set(module.place.removesuffix(".py").split("/"))]


def test_sizes() -> None:
    """No module above 500 lines, no function above 60; those that deserve a second look are printed."""
    long_modules = [module.place for module in modules() if len(module.text.splitlines()) > 500]
    by_length: dict[int, list[str]] = defaultdict(list)
    for module in modules(outside=("migrations/versions/",)):
        for name, length in module.functions():
            by_length[length].append(f"{module.place}: {name}")
    report = [
        f"{length:3} {place}"
        for length in sorted(by_length, reverse=True)
        if length > 30
        for place in by_length[length]
    ]
    print("\nFunctions over 30 lines:\n" + "\n".join(report))  # noqa: T201 - shown with -s, and when the test fails
    assert not long_modules
    assert not [line for line in report if int(line[:3]) > 60]


def test_nothing_prints() -> None:
    """A service speaks through structured logs; only the command line and `make run` speak to a terminal."""
    wrong = [
        f"{module.place}:{line}"
        for module in modules(outside=("local/", "cli.py"))
        for call, line in module.calls()
        if call == "print"
    ]
    assert not wrong


def test_only_the_clock_knows_the_time() -> None:
    """Time is handed in, so that tests move it; monotonic clocks, which measure, are free."""
    # The id of a thing begins with the machine's time; gauges, examples, spans and logs show wall time to who collects
    # them.
    allowed = (
        "kernel/clock.py",
        "kernel/ids.py",
        "kernel/telemetry/answered.py",
        "kernel/telemetry/tallies.py",
        "kernel/telemetry/tracing.py",
        "worker/loops.py",
        "local/",
        "migrations/",
    )
    asks = re.compile(r"(^|\.)(datetime\.now|utcnow|date\.today|time\.time|time\.time_ns|localtime|gmtime)$")
    wrong = [
        f"{module.place}:{line} calls {call}"
        for module in modules(outside=allowed)
        for call, line in module.calls()
        if asks.search(call)
    ]
    assert not wrong, "\n".join(wrong)
