"""What an invariant is: a name, a reason, and a pure function from a rendering to what is wrong with it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.charts.invariants.objects import Finding, Rendering, called

Check = Callable[[Rendering], Iterable[Finding]]
# What an object that is not shaped as its kind makes a check stumble over.
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, StopIteration)


@dataclass(frozen=True, slots=True)
class Violation:
    """Something wrong in a rendering."""

    invariant: str
    thing: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.thing}: {self.path}: {self.message}"


@dataclass(frozen=True, slots=True)
class Invariant:
    """What holds for every rendering. *name* is kebab-case and unique, *why* one sentence."""

    name: str
    why: str
    check: Check

    def violations(self, rendering: Rendering) -> list[Violation]:
        """Say what is wrong. An object that cannot be judged is wrong as well."""
        try:
            found = list(self.check(rendering))
        except _MALFORMED as error:
            return [Violation(self.name, "the rendering", "", f"cannot be judged: {error!r}")]
        return [Violation(self.name, called(thing), path, message) for thing, path, message in found]


def invariant(why: str) -> Callable[[Check], Invariant]:
    """Make an invariant of a function, whose name becomes its own."""

    def make(check: Check) -> Invariant:
        return Invariant(check.__name__.replace("_", "-"), why, check)

    return make
