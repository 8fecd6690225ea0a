"""What PostgreSQL says went wrong, in the five characters of SQLSTATE."""

LOCK_NOT_AVAILABLE = "55P03"
READ_ONLY = "25006"  # what should be the primary is a standby
# What a server says that refuses the connection itself: wrong password or role, no such database, not accepting.
REFUSED = frozenset({"28000", "28P01", "3D000", "55000"})
# No such schema, table, function: the database was not migrated, or not far enough.
NOT_MIGRATED = frozenset({"3F000", "42P01", "42883"})
# A serialization race or a deadlock that was lost: the others have gone on by the next attempt.
RETRIED = frozenset({"40001", "40P01"})
# Too many connections, or a statement that took longer than its bound.
OVERLOADED = frozenset({"53300", "57014", LOCK_NOT_AVAILABLE})


def sqlstate(error: BaseException | None) -> str | None:
    """Find the five characters in which PostgreSQL says what happened, through every wrapping."""
    while error is not None:
        state = getattr(error, "sqlstate", None)
        if isinstance(state, str):
            return state
        error = getattr(error, "orig", None) or error.__cause__
    return None


def violated_constraint(error: BaseException | None) -> str | None:
    """Find the name of the constraint that was violated, through every wrapping."""
    while error is not None:
        name = getattr(error, "constraint_name", None)
        if isinstance(name, str):
            return name
        error = getattr(error, "orig", None) or error.__cause__
    return None


def is_disconnect(state: str | None) -> bool:
    """Tell whether the connection is of no use any more.

    Class 08, an administrator's shutdown (57P01-57P03) and 25006, "read-only transaction": we talk to a former primary.
    """
    return state is not None and (state.startswith("08") or state in {"57P01", "57P02", "57P03", READ_ONLY})
