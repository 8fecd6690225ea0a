"""Transactions begin and end in one place."""

import ast
import re

from tests.support.source import Module, modules

ONLY_PLACE = "kernel/database.py"
ONLY_OPENER = "kernel/engine.py"
# Migrations have a transaction of their own, and `make run` prepares a server before there is a platform.
EXEMPT = ("migrations/", "local/")
ENDS = {"commit", "rollback", "begin_nested", "begin_twophase", "savepoint", "autocommit"}
# Names under which something with a transaction is held; `begin` alone is a common word.
HOLDERS = re.compile(r"(session|connection|conn|engine|database|db)$")
STATEMENT = re.compile(r"^\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|START TRANSACTION|END TRANSACTION)\b")


def offences(module: Module) -> list[str]:
    """Find what begins or ends a transaction, as a call, as a reference or as SQL."""
    found = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            holder = ast.unparse(node.value)
            if node.attr in ENDS or (node.attr in {"begin", "transaction"} and HOLDERS.search(holder)):
                found.append(f"{module.place}:{node.lineno} {holder}.{node.attr}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and STATEMENT.match(node.value):
            found.append(f"{module.place}:{node.lineno} {node.value.strip()[:30]!r}")
    return found


def test_only_the_database_module_ends_transactions() -> None:
    """Effect, audit record, event and stored reply commit together, because nobody else can commit."""
    wrong = [line for module in modules(outside=(ONLY_PLACE, *EXEMPT)) for line in offences(module)]
    assert not wrong, "\n".join(wrong)


def test_the_rule_can_fail() -> None:
    """The one place that may is found by the same search."""
    (database,) = [module for module in modules() if module.place == ONLY_PLACE]
    found = offences(database)
    assert any(".autocommit" in line for line in found)
    assert any("'COMMIT'" in line for line in found)


def test_only_the_engine_module_opens_connections() -> None:
    """A connection past the kernel would be past its retries, its bounds and its metrics."""
    opens = {"create_engine", "create_async_engine", "asyncpg.connect", "asyncpg.create_pool", "AsyncSession"}
    wrong = [
        f"{module.place}:{line} {call}"
        for module in modules(outside=(ONLY_OPENER, *EXEMPT))
        for call, line in module.calls()
        if call in opens
    ]
    assert not wrong, "\n".join(wrong)


def test_no_route_or_operation_takes_part_in_retries() -> None:
    """An operation may be run again: it must not touch what a rollback does not undo."""
    effects = re.compile(r"(^|\.)(cache|redis|_redis|client)\.(run|get|set|delete|publish|post|request)$")
    wrong = [
        f"{module.place}:{line} {call}"
        for module in modules()
        if module.path.stem in {"operations", "queries"}
        for call, line in module.calls()
        if effects.search(call)
    ]
    assert not wrong, "\n".join(wrong)
