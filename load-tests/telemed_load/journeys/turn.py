"""One person's visit to the platform: what they have seen so far, and what they ask for next."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import urlencode

from telemed_load.board import Appointment, Board
from telemed_load.people import Account, Slot
from telemed_load.profile import Journey, Mix


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to send."""

    kind: str
    path: str
    account: Account | None = None
    body: Mapping[str, Any] | None = None
    key: str | None = None
    slot: Slot | None = None
    appointment: Appointment | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it. Without a status there was none, and *failure* says why. Times are seconds since the window."""

    status: int | None
    body: bytes
    headers: Mapping[str, str]
    sent_at: float
    done_at: float
    failure: str = ""

    def json(self) -> dict[str, Any]:
        """Read the body; nothing, if it is no JSON object."""
        try:
            read = json.loads(self.body)
        except ValueError:
            return {}
        return read if isinstance(read, dict) else {}

    @property
    def slug(self) -> str:
        """What kind of problem it is."""
        return str(self.json().get("type", ""))

    @property
    def has_failed(self) -> bool:
        """Tell whether the platform owes an answer: none came, or a 5xx, which is none."""
        return self.status is None or self.status >= 500


class Need(NamedTuple):
    """What somebody comes for."""

    specialization: str
    language: str | None  # if they care for one


@dataclass
class Turn:
    """A journey under way."""

    board: Board
    mix: Mix
    draw: random.Random
    number: int
    now: float  # seconds since 1970, when it began
    who: Account | None
    steps: frozenset[str] = frozenset()
    appointment: Appointment | None = None
    tries_left: int = 0
    found: list[Slot] = field(default_factory=list)  # on the page that they looked at last
    seen: list[str] = field(default_factory=list)  # doctors who were on any page
    choice: Slot | None = None  # of what was found: the one whose doctor they looked at
    refused: set[str] = field(default_factory=set)  # slots that they were told they cannot have
    again: tuple[str, ...] = ()  # steps to be made before those that were planned

    @cached_property
    def need(self) -> Need:
        """What they look for. Drawn once: searches vary around it, and nobody needs something else at every look."""
        people, draw = self.board.people, self.draw
        cares = draw.random() < self.mix.search.chooses_language_share
        return Need(draw.choice(people.specializations), draw.choice(people.languages) if cares else None)

    def key(self) -> str:
        """Make an idempotency key: of its own for every wish, and never one of an earlier run."""
        return f"load-{self.board.people.run}-{self.number}-{self.draw.getrandbits(64):016x}"


class Step(NamedTuple):
    """A kind of request: *ask* gives it, or None if there is nothing to ask for; *hear* learns from the answer."""

    ask: Callable[[Turn], Ask | None]
    hear: Callable[[Turn, Ask, Answer], None]


def nothing_learned(turn: Turn, ask: Ask, answer: Answer) -> None:
    """Learn nothing: the answer changes nothing for what follows."""


def query(path: str, **parameters: object) -> str:
    """Write the address; those that are None are left out, and `from_` is `from`."""
    given = {name.rstrip("_"): value for name, value in parameters.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def timeline(journey: Journey, mix: Mix, draw: random.Random, at: float) -> list[tuple[float, str]]:
    """Draw what somebody does who comes *at* a time, and when each request is intended.

    The pauses count from intended start to intended start, not from answer to request: nobody's slow answer may
    thin out what comes after.
    """
    kinds = [step.do for step in journey.steps for _ in range(_times(step.times, draw))]
    if journey.who in {"patient", "doctor"} and journey.logs_in:
        chance = draw.random()
        if chance < mix.login_share:
            kinds.insert(0, "login")
        elif chance < mix.login_share + mix.refresh_share:
            kinds.insert(0, "refresh")
    planned = []
    for kind in kinds:
        planned.append((at, kind))
        at += pause(mix, draw)
    return planned


def delayed(
    planned: Sequence[tuple[float, str]], kinds: Sequence[str], mix: Mix, draw: random.Random, at: float
) -> list[tuple[float, str]]:
    """Put these requests between that which was intended *at* a time and those *planned*, which come that much later.

    Their pauses, too, count from intended start to intended start.
    """
    more, due = [], at
    for kind in kinds:
        due += pause(mix, draw)
        more.append((due, kind))
    return more + [(later + due - at, kind) for later, kind in planned]


def pause(mix: Mix, draw: random.Random) -> float:
    """Draw how long a person waits before the next request."""
    think = mix.think
    more = think.mean_seconds - think.at_least_seconds
    return think.at_least_seconds + (draw.expovariate(1 / more) if more > 0 else 0.0)


def _times(times: float, draw: random.Random) -> int:
    return int(times) + (draw.random() < times % 1)
