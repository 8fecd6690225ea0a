"""Plays the demo's story on an empty platform, through the services' own operations.

Each step is the operation that a route would call, with an `Act` whose *now* is the step's time; so constraints, audit
records and events are those of real life. All of it is one transaction: it is there as a whole or not at all, and a
seed that was killed has left nothing behind.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.auth.passwords.hashing import PasswordHashes
from telemed.auth.passwords.rules import normalised_password
from telemed.auth.users.models import User
from telemed.auth.users.operations import NewUser, change_role, register_user
from telemed.booking.appointments.desk import DeskInside
from telemed.booking.appointments.operations import book_slot, cancel_appointment, move_appointment
from telemed.booking.appointments.schemas import BookSlot, MoveAppointment
from telemed.booking.doctors.operations import write_doctor
from telemed.booking.doctors.schemas import WriteDoctor
from telemed.booking.slots.operations import publish_slots
from telemed.booking.slots.schemas import PublishSlots, SlotTimes
from telemed.consultation.prescriptions.operations import issue_prescription
from telemed.consultation.visits.operations import complete_visit, record_no_show, start_visit
from telemed.contracts.ids import AppointmentId
from telemed.contracts.money import Money
from telemed.contracts.roles import Role
from telemed.contracts.work import Entry
from telemed.kernel.acts import Act, Actor
from telemed.kernel.clock import Clock
from telemed.kernel.direct import Direct
from telemed.kernel.locks import lock_thing
from telemed.kernel.settings import Settings, SettingsProblem
from telemed.local.demo.accounts import DEMO_PASSWORD
from telemed.local.demo.cast import ADMIN
from telemed.local.demo.story import Kind, Step, Visit, tell

# Any fixed number: the same moment then always tells the same story.
SEED = 20261123
# What the trail shows in place of a request's id: these acts were never requests.
REQUEST_ID = "demo-seed"
_SEEDING = UUID(int=SEED)
Report = Callable[[int, int], None]  # told the steps done, and the steps in all


async def seed(session: AsyncSession, settings: Settings, clock: Clock, report: Report) -> bool:
    """Fill the platform, or return False if the demo is there already. One transaction.

    Locks against another seed of the same database: the second waits, for as long as a statement may, and then finds
    the demo there.

    Raises:
        SettingsProblem: the platform has users who are not the demo's, or is a production one.
    """
    if settings.environment == "production":
        raise SettingsProblem("Demo data are refused: ENVIRONMENT is production, and the demo's passwords are public.")
    await lock_thing(session, "demo", _SEEDING)
    if await session.scalar(select(User).where(col(User.email) == ADMIN.email)) is not None:
        return False
    if await session.scalar(select(col(User.id)).limit(1)) is not None:
        raise SettingsProblem("Demo data are refused: this database has users already; seed an empty one.")
    hashes = PasswordHashes(settings.secret, cost=settings.bcrypt_cost)
    stage = _Stage(
        session,
        # Hashed once, as everybody has the same password and each hash takes a quarter of a second.
        password_hash=hashes.make(normalised_password(DEMO_PASSWORD)),
        visit_opens_before=timedelta(minutes=settings.visit_opens_before_minutes),
    )
    steps = tell(clock.now(), SEED)
    for done, step in enumerate(steps, start=1):
        await stage.play(step)
        report(done, len(steps))
    return True


@dataclass
class _Stage:
    """Turns steps into operations, and remembers under which ids their things exist."""

    session: AsyncSession
    password_hash: str
    visit_opens_before: timedelta
    actors: dict[str, Actor] = field(default_factory=dict)
    slots: dict[tuple[str, datetime], UUID] = field(default_factory=dict)
    appointments: dict[Visit, AppointmentId] = field(default_factory=dict)

    async def play(self, step: Step) -> None:
        """Do what the step says, as the person who did it, at its time."""
        act = Act(now=step.at, actor=self.actors.get(step.by.email), request_id=REQUEST_ID)
        await _PLAYS[step.kind](self, act, step)

    async def register(self, act: Act, step: Step) -> None:
        role = Role.ADMIN if step.by is ADMIN else Role.PATIENT
        user = await register_user(
            self.session, act, NewUser(step.by.email, self.password_hash, step.by.full_name, role=role)
        )
        await self.session.flush()
        self.actors[step.by.email] = Actor(user.id, role.value)

    async def appoint(self, act: Act, step: Step) -> None:
        user = await change_role(self.session, act, None, step.known_doctor.email, Role.DOCTOR)
        await self.session.flush()
        self.actors[user.email] = Actor(user.id, Role.DOCTOR.value)

    async def list_doctor(self, act: Act, step: Step) -> None:
        doctor = step.known_doctor
        entry = WriteDoctor(
            specialization=doctor.specialization,
            languages=list(doctor.languages),
            fee=Money(amount_minor=doctor.fee_minor, currency=doctor.region.currency),
            time_zone=doctor.region.time_zone,
            bio=doctor.bio,
            registration_number=doctor.registration_number,
        )
        await write_doctor(await Direct.inside(self.session), act, entry)

    async def publish(self, act: Act, step: Step) -> None:
        publication = await publish_slots(self.session, act, PublishSlots(slots=list(step.slots)))
        self.slots |= {(step.by.email, slot.starts_at): slot.id for slot in publication.slots}

    async def book(self, act: Act, step: Step) -> None:
        visit = step.known_visit
        wanted = BookSlot(slot_id=self._slot_id(visit, visit.times), reason=visit.case.reason)
        entry = Entry(act.known_actor.user_id, None, None, admit=lambda _role: act)
        written = await book_slot(DeskInside(await Direct.inside(self.session)), entry, wanted)
        if written.outcome is None:
            raise LookupError("a booking without a key cannot be another one's replay")
        self._note(visit, written.outcome.appointment.id)

    async def move(self, act: Act, step: Step) -> None:
        visit = step.known_visit
        if visit.moved_to is None:
            raise LookupError("a visit is moved that has nowhere to go")
        wanted = MoveAppointment(slot_id=self._slot_id(visit, visit.moved_to))
        changed = await move_appointment(self.session, act, self.appointments[visit], wanted)
        self._note(visit, changed.appointment.id)

    async def cancel(self, act: Act, step: Step) -> None:
        await cancel_appointment(await Direct.inside(self.session), act, self._appointment(step))

    async def start(self, act: Act, step: Step) -> None:
        await start_visit(await Direct.inside(self.session), act, self._appointment(step), self.visit_opens_before)

    async def prescribe(self, act: Act, step: Step) -> None:
        wanted = step.known_visit.case.prescription(on=act.now.date())
        await issue_prescription(await Direct.inside(self.session), act, self._appointment(step), wanted)

    async def complete(self, act: Act, step: Step) -> None:
        await complete_visit(await Direct.inside(self.session), act, self._appointment(step))

    async def miss(self, act: Act, step: Step) -> None:
        await record_no_show(await Direct.inside(self.session), act, self._appointment(step))

    def _slot_id(self, visit: Visit, times: SlotTimes) -> UUID:
        return self.slots[visit.doctor.email, times.starts_at]

    def _appointment(self, step: Step) -> AppointmentId:
        return self.appointments[step.known_visit]

    def _note(self, visit: Visit, appointment_id: UUID) -> None:
        self.appointments[visit] = AppointmentId(appointment_id)


_PLAYS: dict[Kind, Callable[[_Stage, Act, Step], Awaitable[None]]] = {
    Kind.REGISTER: _Stage.register,
    Kind.APPOINT: _Stage.appoint,
    Kind.LIST: _Stage.list_doctor,
    Kind.PUBLISH: _Stage.publish,
    Kind.BOOK: _Stage.book,
    Kind.MOVE: _Stage.move,
    Kind.CANCEL: _Stage.cancel,
    Kind.START: _Stage.start,
    Kind.PRESCRIBE: _Stage.prescribe,
    Kind.COMPLETE: _Stage.complete,
    Kind.MISS: _Stage.miss,
}
