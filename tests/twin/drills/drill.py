"""What a drill is."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.twin.drills.scene import Scene


@dataclass(frozen=True)
class Drill:
    """One way to break the twin. *act* does it and gives its hits: how often the fault met its window."""

    name: str
    act: Callable[[Scene], Awaitable[int]]
    shows: str  # what has been shown when it passes
    in_gate: bool = True
    per_second: float = 20.0
    doctors: int = 4
    slots: int = 40  # of each doctor
    patients: int = 300
    # For so long after its booking was acknowledged a slot may still be shown: where the fault takes Redis, and with it
    # notes that the worker writes again (decision 0008). Nowhere else.
    gone_within_seconds: float = 0.0


@dataclass(frozen=True)
class Guard:
    """What keeps a promise, how the twin's harness takes it away, and the drill that must notice."""

    name: str
    drill: str
    drops_token: bool = False
    postgres: Mapping[str, str] = field(default_factory=dict)  # in place of the twin's guards
    patch: str | None = None  # a module of tests/twin/drills/patches that every process loads first
