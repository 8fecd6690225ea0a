"""What administrators do, and what everybody does who is logged in."""

from telemed_load.journeys.turn import Ask, Step, Turn, nothing_learned, query


def me(turn: Turn) -> Ask:
    """Ask who I am."""
    return Ask("me", "/auth/me", turn.who)


def audit(turn: Turn) -> Ask:
    """Look at what happened last, or at what somebody did."""
    people = turn.board.people
    actor = turn.draw.choice(people.patients).id if people.patients and turn.draw.random() < 0.5 else None
    return Ask("audit", query("/audit/events", actor_id=actor, limit=20), turn.who)


def roles(turn: Turn) -> Ask:
    """Look at who was given which role, and by whom."""
    return Ask("roles", query("/audit/events", action="user.change_role", limit=20), turn.who)


STEPS = {
    "me": Step(me, nothing_learned),
    "audit": Step(audit, nothing_learned),
    "roles": Step(roles, nothing_learned),
}
