"""The SQL of the runbooks, on a database as it is: tables, columns and roles are called what the pages call them."""

import re

import asyncpg
import pytest
from tests.observability.runbooks.pages import all_blocks
from tests.support.databases import TestDatabase

_COMMENT = re.compile(r"--.*$", re.MULTILINE)


@pytest.mark.parametrize(("page", "statement"), all_blocks("sql"))
async def test_a_statement_is_answered(page: str, statement: str, database: TestDatabase) -> None:
    """Pasted as the superuser whom the pages tell one to be; it only looks."""
    connection = await asyncpg.connect(database.superuser)
    try:
        async with connection.transaction(readonly=True):
            assert await connection.fetch(_COMMENT.sub("", statement)) is not None, page
    finally:
        await connection.close()


async def test_rights_on_the_trail_are_those_that_the_page_names(database: TestDatabase) -> None:
    """Somebody who looks for an intruder must not take what is meant so for one."""
    (statement,) = [
        text for page, text in all_blocks("sql") if page == "audit-chain-broken" and "privilege_type" in text
    ]
    connection = await asyncpg.connect(database.superuser)
    try:
        rows = await connection.fetch(statement)
        superuser = await connection.fetchval("SELECT current_user")
    finally:
        await connection.close()
    found = {(row["grantee"], row["table_name"], row["privilege_type"]) for row in rows if row["grantee"] != superuser}
    assert found == {
        ("telemed_worker", "unchained", "DELETE"),
        ("telemed_worker", "chain_head", "UPDATE"),
    }
