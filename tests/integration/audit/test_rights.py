"""Who may do what with the trail: the database decides, not the code."""

from typing import Any

import asyncpg
import pytest
from tests.support.databases import TestDatabase


@pytest.fixture
def database(worker_database: TestDatabase) -> TestDatabase:
    """The shared database: nothing here changes anything."""
    return worker_database


@pytest.mark.parametrize("role", ["services", "auditor", "worker", "owner"])
@pytest.mark.parametrize("table", ["records", "chain", "checkpoints"])
@pytest.mark.parametrize("act", ["UPDATE audit.{} SET {} = {}", "DELETE FROM audit.{}", "TRUNCATE audit.{}"])
async def test_nobody_changes_the_trail(database: TestDatabase, role: str, table: str, act: str) -> None:
    """Neither by right nor, for the owner, without removing a trigger first."""
    column = {"records": "id", "chain": "seq", "checkpoints": "to_seq"}[table]
    connection = await asyncpg.connect(getattr(database, role))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(act.format(table, column, column))
    await connection.close()


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("services", "SELECT FROM audit.records"),
        ("services", "SELECT FROM audit.unchained"),
        ("services", "DELETE FROM audit.unchained"),
        ("services", "INSERT INTO audit.chain VALUES (1, gen_random_uuid(), '', '', now())"),
        ("services", "UPDATE audit.chain_head SET seq = 0"),
        ("auditor", "INSERT INTO audit.chain VALUES (1, gen_random_uuid(), '', '', now())"),
        ("auditor", "DELETE FROM audit.unchained"),
        ("worker", "DELETE FROM audit.chain_head"),
        ("worker", "INSERT INTO audit.unchained VALUES (gen_random_uuid())"),
    ],
)
async def test_a_role_has_only_the_rights_that_its_part_needs(
    database: TestDatabase, role: str, statement: str
) -> None:
    """Services insert records; the auditor reads; the worker extends the chain."""
    connection: Any = await asyncpg.connect(getattr(database, role))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(statement)
    await connection.close()
