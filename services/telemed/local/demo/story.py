"""What has happened on the demo's platform, and what is going to: decided before anything is written.

Pure: *now* and the randomness come in, so the same moment and seed tell the same story. Nothing here bends a rule; each
step is something that somebody could have done at its time.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from random import Random

from telemed.booking.slots.schemas import SlotTimes
from telemed.local.demo.cases import CASES, Case
from telemed.local.demo.cast import ADMIN, DemoDoctor, DemoPatient, DemoPerson, doctors, patients
from telemed.local.demo.office_hours import office_slots

HISTORY = timedelta(days=21)
AHEAD = timedelta(days=14)
# Everybody is there before the first slot is published.
DOCTORS_CAME = HISTORY + timedelta(days=7)
PATIENTS_CAME = HISTORY + timedelta(days=2)
HISTORY_PUBLISHED = HISTORY + timedelta(days=1)
AHEAD_PUBLISHED = timedelta(days=6)
# The visits of the last hour may still be running; the demo begins after them.
SETTLED = timedelta(hours=1)
PAST_VISITS_PER_PATIENT = (2, 3, 3)
COMING_VISITS_PER_PATIENT = (1, 1, 2)
# The demo's patient and doctor have a visit that may be started at once: nobody has to wait for office hours.
WAITING_BEGINS_IN = timedelta(minutes=10)
WAITING_LASTS = timedelta(minutes=15)
WAITING_PUBLISHED_AT = timedelta(hours=3)
# Where the welcome's commands book; the demo's patient has nothing else at these hours.
JOURNEY_SPECIALIZATION, JOURNEY_LANGUAGE = "Dermatology", "mr"


class Kind(Enum):
    """What a step does."""

    REGISTER = auto()
    APPOINT = auto()  # an administrator gives the role of a doctor
    LIST = auto()
    PUBLISH = auto()
    BOOK = auto()
    CANCEL = auto()
    MOVE = auto()
    START = auto()
    PRESCRIBE = auto()
    COMPLETE = auto()
    MISS = auto()


@dataclass(eq=False)
class Visit:
    """One appointment of the story; *moved_to* is where it is moved, if it is."""

    doctor: DemoDoctor
    patient: DemoPatient
    case: Case
    times: SlotTimes
    moved_to: SlotTimes | None = None


@dataclass(frozen=True)
class Step:
    """Who did what when. What it is about depends on the kind."""

    at: datetime
    kind: Kind
    by: DemoPerson
    doctor: DemoDoctor | None = None
    slots: tuple[SlotTimes, ...] = ()
    visit: Visit | None = None

    @property
    def known_doctor(self) -> DemoDoctor:
        """Give the doctor of a step that is about one."""
        if self.doctor is None:
            raise LookupError(f"{self.kind.name} without a doctor")
        return self.doctor

    @property
    def known_visit(self) -> Visit:
        """Give the visit of a step that is about one."""
        if self.visit is None:
            raise LookupError(f"{self.kind.name} without a visit")
        return self.visit


def tell(now: datetime, seed: int) -> list[Step]:
    """Give the whole story up to *now*, in the order of time."""
    writer = _Writer(now, Random(seed))  # noqa: S311 - a demo, not a secret
    steps = [*writer.arrivals(), *writer.waiting_visit(), *writer.past(), *writer.coming()]
    # Sorted by time alone: steps of one moment stay in the order in which they were written.
    return sorted([*writer.publications(), *steps], key=lambda step: step.at)


@dataclass
class _Writer:
    now: datetime
    random: Random
    doctors: list[DemoDoctor] = field(default_factory=doctors)
    patients: list[DemoPatient] = field(default_factory=patients)
    _busy: dict[str, list[SlotTimes]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        waiting_from = _next_five_minutes(self.now + WAITING_BEGINS_IN)
        self._waiting = SlotTimes(starts_at=waiting_from, ends_at=waiting_from + WAITING_LASTS)
        # Nobody can look at past slots that were not booked: a third of the office hours is enough to choose from.
        self._past = {doctor.email: self._office(doctor, self.now - HISTORY, self.now)[::3] for doctor in self.doctors}
        self._ahead = {doctor.email: self._office(doctor, self.now, self.now + AHEAD) for doctor in self.doctors}
        first = self.doctors[0].email
        self._ahead[first] = [times for times in self._ahead[first] if not _overlap(times, self._waiting)]
        self._past[first] = [times for times in self._past[first] if not _overlap(times, self._waiting)]

    def arrivals(self) -> Iterator[Step]:
        """Everybody registers; doctors get their role and write their entry."""
        begun = self.now - DOCTORS_CAME
        yield Step(begun, Kind.REGISTER, ADMIN)
        for number, doctor in enumerate(self.doctors):
            came = begun + timedelta(minutes=20 + 110 * number)
            yield Step(came, Kind.REGISTER, doctor)
            yield Step(came + timedelta(minutes=30), Kind.APPOINT, ADMIN, doctor)
            yield Step(came + timedelta(minutes=45), Kind.LIST, doctor, doctor)
        for number, patient in enumerate(self.patients):
            yield Step(self.now - PATIENTS_CAME + timedelta(minutes=17 * number), Kind.REGISTER, patient)

    def publications(self) -> Iterator[Step]:
        """Each doctor publishes the weeks that are over, then the two that are ahead."""
        for number, doctor in enumerate(self.doctors):
            shift = timedelta(minutes=7 * number)
            for at, slots in (
                (self.now - HISTORY_PUBLISHED + shift, self._past[doctor.email]),
                (self.now - AHEAD_PUBLISHED + shift, self._ahead[doctor.email]),
            ):
                yield Step(at, Kind.PUBLISH, doctor, doctor, tuple(slots))

    def waiting_visit(self) -> Iterator[Step]:
        """Let the demo's patient wait for the demo's doctor, so that a visit can be started."""
        doctor, patient = self.doctors[0], self.patients[0]
        visit = Visit(doctor, patient, CASES[doctor.specialization][0], self._waiting)
        self._busy[patient.email].append(self._waiting)
        yield Step(self.now - WAITING_PUBLISHED_AT, Kind.PUBLISH, doctor, doctor, (self._waiting,))
        yield Step(self.now - WAITING_PUBLISHED_AT / 2, Kind.BOOK, patient, visit=visit)

    def past(self) -> Iterator[Step]:
        """Tell visits that are over: most took place, some were cancelled, moved or missed."""
        earliest, latest = self.now - HISTORY + timedelta(days=1), self.now - SETTLED
        for patient in self.patients:
            for _ in range(self.random.choice(PAST_VISITS_PER_PATIENT)):
                visit = self._visit(patient, self._past, earliest, latest)
                if visit is not None:
                    yield from self._outcome(visit, published=self.now - HISTORY_PUBLISHED)

    def coming(self) -> Iterator[Step]:
        """Tell visits that are still ahead; the demo's patient has three."""
        published = self.now - AHEAD_PUBLISHED + timedelta(hours=6)
        earliest = self.now + timedelta(days=1)
        for number, patient in enumerate(self.patients):
            count = 3 if number == 0 else self.random.choice(COMING_VISITS_PER_PATIENT)
            for _ in range(count):
                visit = self._visit(patient, self._ahead, earliest, self.now + AHEAD)
                if visit is None:
                    continue
                fate = self.random.random() if number else 1.0
                yield from self._booked(visit, published, self.now - timedelta(hours=4), is_moved=0.1 <= fate < 0.2)
                if fate < 0.1:
                    yield Step(self.now - timedelta(hours=self.random.uniform(1, 3)), Kind.CANCEL, patient, visit=visit)

    def _outcome(self, visit: Visit, *, published: datetime) -> Iterator[Step]:
        fate = self.random.random()
        starts_at = visit.times.starts_at
        yield from self._booked(
            visit, published + timedelta(hours=6), starts_at - timedelta(hours=6), is_moved=0.2 <= fate < 0.3
        )
        if fate < 0.12:
            by = visit.patient if fate < 0.09 else visit.doctor
            yield Step(starts_at - timedelta(hours=self.random.uniform(2, 5)), Kind.CANCEL, by, visit=visit)
            return
        begun = (visit.moved_to or visit.times).starts_at + timedelta(minutes=self.random.uniform(-3, 6))
        if fate < 0.2:
            late = max(begun, starts_at) + timedelta(minutes=12)
            yield Step(late, Kind.MISS, visit.doctor, visit=visit)
            return
        yield Step(begun, Kind.START, visit.doctor, visit=visit)
        yield Step(begun + timedelta(minutes=9), Kind.PRESCRIBE, visit.doctor, visit=visit)
        if fate > 0.97:  # a slip of the pen: the second prescription supersedes the first
            yield Step(begun + timedelta(minutes=11), Kind.PRESCRIBE, visit.doctor, visit=visit)
        yield Step(begun + timedelta(minutes=14), Kind.COMPLETE, visit.doctor, visit=visit)

    def _booked(self, visit: Visit, earliest: datetime, latest: datetime, *, is_moved: bool) -> Iterator[Step]:
        """Tell the booking, some time from *earliest* to *latest*, and the move that may follow it."""
        booked_at = earliest + (latest - earliest) * self.random.random()
        yield Step(booked_at, Kind.BOOK, visit.patient, visit=visit)
        if not is_moved:
            return
        slots = self._past if visit.times.starts_at < self.now else self._ahead
        end = self.now - SETTLED if slots is self._past else self.now + AHEAD
        later = self._take(visit.patient, visit.doctor, slots[visit.doctor.email], visit.times.ends_at, end)
        if later is not None:
            visit.moved_to = later
            yield Step(booked_at + (latest - booked_at) / 2, Kind.MOVE, visit.patient, visit=visit)

    def _visit(
        self, patient: DemoPatient, slots: dict[str, list[SlotTimes]], earliest: datetime, latest: datetime
    ) -> Visit | None:
        """Find the patient a doctor who speaks their language and has a slot between the two instants."""
        speaking = [doctor for doctor in self.doctors if set(doctor.languages) & set(patient.languages)]
        doctor = self.random.choice(speaking)
        times = self._take(patient, doctor, slots[doctor.email], earliest, latest)
        if times is None:
            return None
        return Visit(doctor, patient, self.random.choice(CASES[doctor.specialization]), times)

    def _take(
        self, patient: DemoPatient, doctor: DemoDoctor, slots: list[SlotTimes], earliest: datetime, latest: datetime
    ) -> SlotTimes | None:
        """Give one of the slots to nobody else, at a time at which the patient has nothing yet."""
        taken = [*self._busy[patient.email], *self._busy[doctor.email], *self._kept_free(patient)]
        free = [
            times
            for times in slots
            if earliest <= times.starts_at and times.ends_at <= latest and not any(_overlap(times, t) for t in taken)
        ]
        if not free:
            return None
        chosen = self.random.choice(free)
        self._busy[patient.email].append(chosen)
        self._busy[doctor.email].append(chosen)
        return chosen

    def _kept_free(self, patient: DemoPatient) -> list[SlotTimes]:
        """Keep the demo's patient free for every slot that the welcome's commands may book."""
        if patient is not self.patients[0]:
            return []
        return [
            times
            for doctor in self.doctors
            if doctor.specialization == JOURNEY_SPECIALIZATION and JOURNEY_LANGUAGE in doctor.languages
            for times in self._ahead[doctor.email]
        ]

    @staticmethod
    def _office(doctor: DemoDoctor, begin: datetime, end: datetime) -> list[SlotTimes]:
        return office_slots(doctor.hours, doctor.region.time_zone, begin=begin, end=end)


def _overlap(one: SlotTimes, other: SlotTimes) -> bool:
    return one.starts_at < other.ends_at and other.starts_at < one.ends_at


def _next_five_minutes(moment: datetime) -> datetime:
    whole = moment.replace(minute=moment.minute - moment.minute % 5, second=0, microsecond=0)
    return whole if whole >= moment else whole + timedelta(minutes=5)
