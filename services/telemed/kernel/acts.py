"""An act: one request or one run of a job; who does it, when, and under which ids it can be found again."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. *role* is the one that holds now, not the one in the token."""

    user_id: UUID
    role: str
    session_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """What every operation is told besides its own input.

    *now* is aware UTC and the same for everything that the act does; *actor* is None for the anonymous.
    """

    now: datetime
    actor: Actor | None = None
    request_id: str = ""
    trace_id: str = ""
    traceparent: str = ""
    client_address: str = ""

    def by(self, actor: Actor) -> "Act":
        """Give the same act with its actor known."""
        return replace(self, actor=actor)

    @property
    def known_actor(self) -> Actor:
        """Give the actor of an act that cannot be anonymous."""
        if self.actor is None:
            raise LookupError("an operation that needs an actor was reached without one")
        return self.actor
