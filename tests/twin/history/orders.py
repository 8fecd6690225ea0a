"""Looks for an order of concurrent steps that explains what was seen (Wing and Gong's search, with memory).

Steps are partially ordered: a step may only come after those named in `after`. A step that changes nothing is taken
as soon as it fits, which is never wrong, so that only changes that overlap cost anything. A read that makes something
known (which of two claims has a name) is a change in this sense: it may have seen the one or the other.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)
MOST_STATES = 200_000  # of one search; real histories need a few hundred


class Undecided(Exception):
    """The history is too tangled to be judged."""


@dataclass(frozen=True, slots=True)
class Step(Generic[S]):
    """Something that happened, or was seen, at one instant that nobody knows."""

    name: str
    end: float  # when somebody knew that it had happened
    take: Callable[[S], S | None]  # the state after it; None where it cannot happen
    after: int = 0  # bits of the steps that surely came before
    is_read: bool = False  # changes nothing, but may make known what was not
    is_required: bool = True  # False: it may have happened or not


def explained(steps: Sequence[Step[S]], initial: S) -> bool:
    """Tell whether some order of the steps, with or without those not required, fits.

    Raises:
        Undecided: more than MOST_STATES states would have to be looked at.
    """
    required = _bits(place for place, step in enumerate(steps) if step.is_required)
    met: set[tuple[int, S]] = set()
    waiting = [(0, initial)]
    while waiting:
        done, state = waiting.pop()
        done = _with_reads(steps, done, state)
        if not required & ~done:
            return True
        if (done, state) in met:
            continue
        met.add((done, state))
        if len(met) > MOST_STATES:
            raise Undecided
        waiting += _following(steps, done, state)
    return False


def first_unexplained(steps: Sequence[Step[S]], initial: S) -> Step[S] | None:
    """Give the step with whose end it became certain that no order fits; None if one does.

    What was not known by then may have happened already, or not.
    """
    if explained(steps, initial):
        return None
    ends = sorted((step for step in steps if step.is_required), key=lambda step: step.end)
    low, high = 0, len(ends)
    while high - low > 1:
        middle = (low + high) // 2
        if explained(_known_by(steps, ends[middle - 1].end), initial):
            low = middle
        else:
            high = middle
    return ends[high - 1]


def _known_by(steps: Sequence[Step[S]], instant: float) -> list[Step[S]]:
    """Give the steps as they were known at the instant; reads that were not, in a form that is never taken."""
    known = []
    for step in steps:
        if step.end <= instant or not step.is_required:
            known.append(step)
        else:
            known.append(replace(step, is_required=False, take=_never if step.is_read else step.take))
    # A step that is no more required cannot be waited for.
    required = _bits(place for place, step in enumerate(known) if step.is_required)
    return [replace(step, after=step.after & required) for step in known]


def _never(_state: Hashable) -> None:
    return None


def _with_reads(steps: Sequence[Step[S]], done: int, state: S) -> int:
    """Take every read that fits and makes nothing known."""
    while True:
        before = done
        for place, step in enumerate(steps):
            is_next = not done >> place & 1 and not step.after & ~done
            if step.is_read and is_next and step.take(state) == state:
                done |= 1 << place
        if done == before:
            return done


def _following(steps: Sequence[Step[S]], done: int, state: S) -> list[tuple[int, S]]:
    """Give the states that one change leads to; the likely ones last, as they are looked at first."""
    certain: list[tuple[int, S]] = []
    possible: list[tuple[int, S]] = []
    for place, step in enumerate(steps):
        if done >> place & 1 or step.after & ~done:
            continue
        following = step.take(state)
        if following is not None:
            (certain if step.is_required else possible).append((done | 1 << place, following))
    return possible + certain[::-1]


def _bits(places: Iterable[int]) -> int:
    bits = 0
    for place in places:
        bits |= 1 << place
    return bits
