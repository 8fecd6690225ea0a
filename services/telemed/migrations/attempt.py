"""One attempt to migrate, as an operator or a Job makes it: what went wrong is a sentence, and whether to try again."""

import asyncpg
from sqlalchemy.exc import DBAPIError

from telemed.kernel.settings import DatabaseLogins, SettingsProblem
from telemed.kernel.sqlstates import OVERLOADED, REFUSED, RETRIED, is_disconnect, sqlstate
from telemed.migrations.runner import migrate

# EX_TEMPFAIL of sysexits.h: whoever runs this as a Job tries again at this code, and at no other.
TRY_AGAIN = 75


class NotNow(Exception):
    """The database cannot be migrated at the moment: it is not there yet, fails over, or a table is in use."""


def migrate_as_owner(logins: DatabaseLogins) -> None:
    """Bring the database to the newest revision.

    Raises:
        NotNow: a later attempt may succeed without anybody's doing.
        SettingsProblem: nothing will change by itself.
    """
    if logins.environment == "production" and logins.owner_database_url is None:
        raise SettingsProblem("OWNER_DATABASE_URL must be set in production: the owner's login, not through a pooler.")
    try:
        migrate(logins.owner_database)
    except OSError as error:
        raise NotNow(f"The database cannot be reached ({str(error) or type(error).__name__}).") from error
    except (DBAPIError, asyncpg.PostgresError) as error:
        # A refusal at connecting comes as the driver's own error, everything later as SQLAlchemy's around it.
        state, words = sqlstate(error), str(getattr(error, "orig", None) or error)
        if state in RETRIED | OVERLOADED or is_disconnect(state):
            raise NotNow(f"The database does not let itself be migrated now ({state}: {words}).") from error
        if state in REFUSED:
            raise SettingsProblem(f"OWNER_DATABASE_URL: the database refuses it ({words}).") from error
        raise
