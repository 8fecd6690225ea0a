"""What auth publishes about people: their name and role, and whether a session still stands.

Both are read from the database, never from a token: a role change or a logout holds from its commit on, everywhere.
"""

from dataclasses import dataclass
from uuid import UUID

from telemed.contracts.roles import Role
from telemed.kernel.direct import Direct

# auth.people and auth.revoked_sessions are views: all that other services' code may know of auth's tables.
# $1 is the user, $2 the session. One row at least. What is found is found for a caller who stands, and stays in the
# query's order: on the left of the last join is one row, and where nothing is compared for equality PostgreSQL has no
# join but the loop.
_SEEN = """
    SELECT caller.role AS caller_role, found.*
    FROM (VALUES ($1::uuid)) AS sent (user_id)
    LEFT JOIN (
        SELECT p.id, p.role FROM auth.people AS p
        WHERE p.id = $1 AND NOT EXISTS (SELECT FROM auth.revoked_sessions AS r WHERE r.id = $2::uuid)
    ) AS caller ON true
    LEFT JOIN LATERAL ({query}) AS found ON caller.role IS NOT NULL{or_else}
"""
# The fields of `Person`. Index: the primary key of users.
_PERSON = "SELECT id, full_name, role FROM auth.people WHERE id = $1"


@dataclass(frozen=True, slots=True)
class Person:
    """A user, as far as other services need to know."""

    id: UUID
    full_name: str
    role: Role


def seen_by_caller(query: str, *, or_visitor: bool = False) -> str:
    """Make one statement of a query and of the question who asks: the query's rows, each behind `caller_role`.

    One statement is one snapshot, so role, session and what is shown are of one moment. $1 is the user, $2 the session,
    the query's own parameters follow; it may name `caller.id` and `caller.role`. Its first column is never null: the
    one row of a query that finds nothing has nothing but the role in it. To a user who is gone, or whose session has
    ended, the database gives nothing else either; nor to one who says not who they are ($1 is null), without
    *or_visitor*.
    """
    or_else = " OR sent.user_id IS NULL" if or_visitor else ""
    return _SEEN.format(query=query, or_else=or_else)


async def person(direct: Direct, user_id: UUID) -> Person | None:
    """Look a user up."""
    rows = await direct.rows(_PERSON, user_id)
    return Person(rows[0]["id"], rows[0]["full_name"], Role(rows[0]["role"])) if rows else None
