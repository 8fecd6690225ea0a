"""What the people of one worker know: which slots are whose, what was acknowledged, whose visit may begin.

It is also where promises are watched while the load runs: two acknowledged bookings of one slot, and a search that
began after a booking was acknowledged and still shows its slot.
"""

import math
import random
from collections import defaultdict, deque
from dataclasses import dataclass, field

from telemed_load.people import Account, Population, Slot

MANY = 20_000  # violations are told one by one up to here; nobody reads more
RECENT = 2000  # prescriptions that can be asked for


@dataclass
class Appointment:
    """An acknowledged booking."""

    id: str
    slot: Slot
    patient: Account
    status: str = "booked"


@dataclass
class Board:
    """One worker's memory."""

    people: Population
    violations: list[str] = field(default_factory=list)
    appointments: dict[str, Appointment] = field(default_factory=dict)
    occupied_since: dict[str, float] = field(default_factory=dict)  # slot -> when its booking was acknowledged
    _calendars: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    _stock: dict[str, list[Slot]] = field(default_factory=dict)  # doctor -> slots nobody was given yet
    _doctors: dict[str, Account] = field(default_factory=dict)
    _waiting: deque[Appointment] = field(default_factory=deque)
    _prescribed: deque[Appointment] = field(default_factory=lambda: deque(maxlen=RECENT))

    def __post_init__(self) -> None:
        self._doctors = {doctor.id: doctor for doctor in self.people.doctors}
        for slot in sorted(self.people.slots, key=lambda one: one.begins, reverse=True):
            self._stock.setdefault(slot.doctor_id, []).append(slot)
        patients = {patient.id: patient for patient in self.people.patients}
        for due in self.people.due:
            self.expect(patients[due.patient_id], due.slot)
            self.booked(Appointment(due.id, due.slot, patients[due.patient_id]), -math.inf)

    # --- who comes

    def somebody(self, among: list[Account], draw: random.Random) -> Account | None:
        """Give one of them."""
        return draw.choice(among) if among else None

    def doctor(self, doctor_id: str) -> Account | None:
        """Give the account of the doctor, if they take part."""
        return self._doctors.get(doctor_id)

    def next_visit(self, now: float) -> Appointment | None:
        """Give an appointment whose visit may begin, and that nobody was given."""
        opens = now + self.people.visit_opens_before_seconds
        for _ in range(min(20, len(self._waiting))):
            one = self._waiting.popleft()
            if one.status != "booked":
                continue
            if one.slot.begins <= opens:
                return one
            self._waiting.append(one)
        return None

    def prescribed(self, draw: random.Random) -> Appointment | None:
        """Give an appointment with a prescription."""
        return draw.choice(self._prescribed) if self._prescribed else None

    # --- slots

    def is_free(self, patient: Account, slot: Slot) -> bool:
        """Tell whether the patient is nowhere else at that time: they know their own calendar."""
        return all(slot.ends <= begins or ends <= slot.begins for begins, ends in self._calendars[patient.id])

    def from_stock(self, number: int) -> tuple[Slot, Account] | None:
        """Give a slot that nobody was given yet, and a patient whom it suits.

        Every doctor has patients of their own, so that no two slots of a patient overlap, however many are booked.
        """
        doctors = self.people.doctors
        for place in range(len(doctors)):
            index = (number + place) % len(doctors)
            left = self._stock.get(doctors[index].id)
            if left:
                patients = self.people.patients[index :: len(doctors)] or self.people.patients
                return left.pop(), patients[len(left) % len(patients)]
        return None

    def other_slot(self, doctor_id: str, found: list[Slot], draw: random.Random) -> Slot | None:
        """Give another slot of the doctor, one that was shown, or one from the stock."""
        shown = [slot for slot in found if slot.doctor_id == doctor_id and slot.id not in self.occupied_since]
        if shown:
            return draw.choice(shown)
        stock = self._stock.get(doctor_id)
        return stock.pop() if stock else None

    def saw(self, shown: list[str], asked_at: float) -> None:
        """Compare what a search that was sent *asked_at* shows with what was acknowledged before."""
        for slot in shown:
            since = self.occupied_since.get(slot)
            if since is not None and since < asked_at:
                self.broken(f"slot {slot} was shown by a search that began {asked_at - since:.3f} s after its booking")

    # --- appointments

    def expect(self, patient: Account, slot: Slot) -> None:
        """Note the time as taken before it is asked for: two journeys of one patient must not both ask."""
        self._calendars[patient.id].append((slot.begins, slot.ends))

    def forget(self, patient: Account, slot: Slot) -> None:
        """Note that the slot is not the patient's after all."""
        if (slot.begins, slot.ends) in self._calendars[patient.id]:
            self._calendars[patient.id].remove((slot.begins, slot.ends))

    def booked(self, appointment: Appointment, now: float) -> None:
        """Note an acknowledged booking."""
        if appointment.slot.id in self.occupied_since:
            self.broken(f"slot {appointment.slot.id} was given twice; the second appointment is {appointment.id}")
        self.occupied_since[appointment.slot.id] = now
        self.appointments[appointment.id] = appointment
        if appointment.slot.doctor_id in self._doctors:
            self._waiting.append(appointment)

    def leaves(self, appointment: Appointment, status: str) -> None:
        """Note, before it is asked for, that the slot may be open again from now on."""
        appointment.status = status
        self.occupied_since.pop(appointment.slot.id, None)

    def left(self, appointment: Appointment) -> None:
        """Note that it was acknowledged: the patient has the time again."""
        self.forget(appointment.patient, appointment.slot)

    def wrote(self, appointment: Appointment) -> None:
        """Note that there is a prescription."""
        self._prescribed.append(appointment)

    def broken(self, what: str) -> None:
        """Note a broken promise."""
        if len(self.violations) < MANY:
            self.violations.append(what)
