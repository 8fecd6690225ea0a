"""How migrations run several statements at once: asyncpg prepares one at a time."""

from alembic import op


def run(*statements: str) -> None:
    """Execute the statements in order."""
    for statement in statements:
        op.execute(statement)
