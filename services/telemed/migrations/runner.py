"""Brings a database to the newest revision."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from telemed.migrations.pieces import do_in_pieces


def migrate(database_url: str, revision: str = "head") -> None:
    """Upgrade the database at *database_url* (a ``postgresql://`` address of its owner).

    Safe to run by several processes at once: they queue on a lock. Does nothing to a database that a newer version has
    migrated already: it is as new as this version needs, and nothing goes back by itself.

    One transaction, but for what a revision asks for: `IS_APART` commits everything before it first, and the statement
    `IN_PIECES` is done in transactions of its own before it. Whoever is stopped in between goes on from there.
    """
    config = _config(database_url)
    config.attributes["may_be_newer"] = True
    script = ScriptDirectory.from_config(config)
    for step in reversed(list(script.walk_revisions("base", revision))):
        before, pieces = str(step.down_revision), getattr(step.module, "IN_PIECES", None)
        if pieces is not None or hasattr(step.module, "IS_APART"):
            command.upgrade(config, before)
        if pieces is not None:
            do_in_pieces(database_url, before, pieces)
    command.upgrade(config, revision)


def newest_revision() -> str:
    """Give the revision that this version of the code needs."""
    head = ScriptDirectory.from_config(_config("")).get_current_head()
    if head is None:
        raise LookupError("the package has no migrations")
    return head


def _config(database_url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    config.attributes["database_url"] = database_url
    return config
