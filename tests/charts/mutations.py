"""Changing a rendering everywhere, one place at a time: taken away, negated, zeroed, halved, doubled, replaced."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.charts.changing import GONE, changed, leaves, path_of
from tests.charts.invariants.invariant import Invariant
from tests.charts.invariants.objects import Object, Rendering, called
from tests.charts.invariants.registry import INVARIANTS

_PLACE = re.compile(r"\[\d+\]")
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z%]*)")


@dataclass(frozen=True)
class Mutation:
    """One change of one object."""

    target: Object
    path: str
    way: str
    value: Any  # whatever is there instead

    def __str__(self) -> str:
        return f"{called(self.target)} {self.path} {self.way}"

    @property
    def kind_and_path(self) -> str:
        """Give kind and path without the object's name and without places in lists."""
        return f"{self.target['kind']} {_PLACE.sub('[]', self.path)}"


def mutations(target: Object) -> Iterator[Mutation]:
    """Give every change of an object: of each value, and of each part taken away as a whole."""
    seen: set[str] = set()
    for keys, value in leaves(target):
        for depth in range(1, len(keys) + 1):
            path = path_of(keys[:depth])
            if path not in seen:
                seen.add(path)
                yield Mutation(target, path, "taken away", GONE)
        for way, other in _others(value):
            yield Mutation(target, path_of(keys), way, other)


def _others(value: Any) -> Iterator[tuple[str, Any]]:  # Any: a value of an object
    if isinstance(value, bool):
        yield "negated", not value
    elif isinstance(value, int | float):
        yield from ((way, other) for way, other in _numbers(value) if other != value)
    elif isinstance(value, str):
        number = _NUMBER.fullmatch(value)
        if number:
            unit = number[2]
            for way, other in _numbers(float(number[1])):
                if f"{other:g}{unit}" != value:
                    yield way, f"{other:g}{unit}"
        else:
            yield "replaced", "mutated"


def _numbers(value: float) -> Iterator[tuple[str, float]]:
    whole: Callable[[float], float] = int if float(value).is_integer() else float
    yield "zeroed", whole(0)
    yield "halved", whole(value / 2)
    yield "doubled", whole(value * 2)


class Judge:
    """Tells which invariant notices a mutation. The one that noticed the last of its kind is asked first."""

    def __init__(self, objects: list[Object]) -> None:
        self.objects = objects
        self._noticed: dict[str, list[Invariant]] = {}

    def notices(self, mutation: Mutation) -> str | None:
        """Give the name of an invariant that notices it; None if it survives."""
        objects = changed(self.objects, mutation.target, mutation.path, mutation.value)
        rendering = Rendering(objects)
        first = self._noticed.setdefault(mutation.kind_and_path, [])
        for invariant in [*first, *(one for one in INVARIANTS if one not in first)]:
            if invariant.violations(rendering):
                if invariant not in first:
                    first.insert(0, invariant)
                return invariant.name
        return None
