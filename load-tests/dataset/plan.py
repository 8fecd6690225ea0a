"""How large a data set is, and when things in it happen. Pure: the same seed and instant give the same plan."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

SMALLEST, LARGEST = 1_000, 10_000_000  # slots; the tests of the generator itself use the smallest
SLOT = timedelta(minutes=30)
SLOTS_A_DAY = 16  # eight hours of one doctor
PAST_SHARE = 0.2  # of a doctor's days are over: their visits are the history that patients and doctors look at
# Whoever looks for bookings without a record or an event looks at the last day (booking/invariants.py). What is loaded
# has neither, so all of it was booked before that.
BOOKED_BEFORE = timedelta(days=2)
PUBLISHED_BEFORE = timedelta(days=30)  # before a doctor's first day, all of whose slots are published at once


class PlanProblem(Exception):
    """What is wanted cannot be made; the message is the sentence that the caller sees."""


@dataclass(frozen=True)
class Plan:
    """What is made. *now* is aware UTC: what lies before it is over."""

    slots: int
    seed: int
    now: datetime

    def __post_init__(self) -> None:
        if not SMALLEST <= self.slots <= LARGEST:
            raise PlanProblem(f"--slots is a number from {SMALLEST} to {LARGEST}, such as 1e6.")
        if not 0 <= self.seed < 10**9:
            raise PlanProblem("--seed is a number from 0 to 999999999.")

    @cached_property
    def doctors(self) -> int:
        """A doctor for each thousand slots (some sixty days of work), and never so few that a search finds but one."""
        return max(20, self.slots // 1000)

    @cached_property
    def patients(self) -> int:
        """One for each twenty slots; half of them have visits, the other half come for the first time."""
        return max(500, self.slots // 20)

    @cached_property
    def patients_with_visits(self) -> int:
        """Not below the number of doctors: so there is somebody for each of them at any one time (`rows.visitor`)."""
        return self.patients // 2

    @cached_property
    def first_day(self) -> datetime:
        """Midnight, UTC, of the first day on which a doctor works."""
        days = -(-self.slots_of(0) // SLOTS_A_DAY)
        return self.now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=int(days * PAST_SHARE))

    @cached_property
    def published_at(self) -> datetime:
        """When everybody published their slots."""
        return self.first_day - PUBLISHED_BEFORE

    def slots_of(self, doctor: int) -> int:
        """Give the number of a doctor's slots; the first few have one more than the others."""
        return self.slots // self.doctors + (doctor < self.slots % self.doctors)


def parsed_size(text: str) -> int:
    """Read a number of slots, which people write as 1e6.

    Raises:
        PlanProblem: it is no whole number.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.5
    if not number.is_integer():
        raise PlanProblem(f"--slots is a whole number, such as 1e6; not {text!r}.")
    return int(number)


def current_instant() -> datetime:
    """Give the instant that a data set is made for."""
    return datetime.now(UTC)
