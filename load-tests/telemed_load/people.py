"""Who takes part in a load and what they start with: made before the window, told to every worker."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Self


@dataclass
class Account:
    """Somebody with a session, and what their client remembers."""

    id: str
    email: str
    token: str
    expires_at: float  # seconds since 1970
    refresh_token: str | None = None
    password: str | None = None
    consistency: str | None = None  # what the last write told, so that reads that follow see it


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot that can be booked. Times are seconds since 1970, as plain numbers compare and add up."""

    id: str
    doctor_id: str
    begins: float
    ends: float

    @classmethod
    def read(cls, item: Mapping[str, Any], doctor_id: str) -> Self:
        """Read what the platform writes of a slot; whose it is, doctors and searches are told in different places."""
        begins, ends = (datetime.fromisoformat(item[name]).timestamp() for name in ("starts_at", "ends_at"))
        return cls(item["id"], doctor_id, begins, ends)


@dataclass(frozen=True, slots=True)
class Due:
    """An appointment that was booked before the window, and whose visit may begin in it."""

    id: str
    slot: Slot
    patient_id: str


@dataclass
class Population:
    """Everybody, and the slots that their doctors have published for them."""

    patients: list[Account]
    doctors: list[Account]
    admins: list[Account]
    slots: list[Slot]
    specializations: list[str]
    languages: list[str]
    visit_opens_before_seconds: float
    described: str  # the data set, for the verdict
    run: str = ""  # tells its idempotency keys from those of a run before, whose seed may be the same
    contested: list[Slot] = field(default_factory=list)  # of a stampede, the same for every worker
    due: list[Due] = field(default_factory=list)

    def part(self, worker: int, workers: int) -> "Population":
        """Give one worker its own people; where there are fewer than workers, all share them."""
        doctors, patients = (_every(among, worker, workers) for among in (self.doctors, self.patients))
        theirs, whose = {doctor.id for doctor in doctors}, {patient.id for patient in patients}
        return Population(
            patients=patients,
            doctors=doctors,
            admins=self.admins,
            slots=[slot for slot in self.slots if slot.doctor_id in theirs],
            specializations=self.specializations,
            languages=self.languages,
            visit_opens_before_seconds=self.visit_opens_before_seconds,
            described=self.described,
            run=self.run,
            contested=self.contested,
            due=[one for one in self.due if one.slot.doctor_id in theirs and one.patient_id in whose],
        )

    def to_json(self) -> dict[str, Any]:
        """Write it down, tokens included: for the workers only, never for a result."""
        return asdict(self)

    @classmethod
    def from_json(cls, written: dict[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        people = {name: [Account(**one) for one in written[name]] for name in ("patients", "doctors", "admins")}
        slots = {name: [Slot(**one) for one in written[name]] for name in ("slots", "contested")}
        due = [Due(one["id"], Slot(**one["slot"]), one["patient_id"]) for one in written["due"]]
        return cls(**(written | people | slots | {"due": due}))


def _every(accounts: Sequence[Account], worker: int, workers: int) -> list[Account]:
    return list(accounts[worker::workers]) if len(accounts) >= workers else list(accounts)
