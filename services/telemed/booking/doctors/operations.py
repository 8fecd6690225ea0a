"""What one does with the directory: one function a use case, one transaction each."""

from dataclasses import dataclass

from telemed.booking.doctors import queries
from telemed.booking.doctors.models import SeenDoctor
from telemed.booking.doctors.rules import may_see_registration
from telemed.booking.doctors.schemas import DoctorReply, WriteDoctor
from telemed.contracts import people
from telemed.contracts.events import DOCTOR_CHANGED
from telemed.contracts.ids import DoctorId
from telemed.contracts.looks import Found, Look, Shown
from telemed.kernel.acts import Act
from telemed.kernel.audit import AuditEntry, append_audit
from telemed.kernel.direct import Direct
from telemed.kernel.locks import lock_thing
from telemed.kernel.outbox import Event, append_events
from telemed.kernel.paging import Cursor, Page, page_of
from telemed.kernel.problems import NotAuthenticated, NotFound


@dataclass(frozen=True, slots=True)
class ChangedDoctor:
    """An entry after its change, with the specialization under which it was found before."""

    doctor: SeenDoctor
    previous_specialization: str


async def write_doctor(direct: Direct, act: Act, wanted: WriteDoctor) -> ChangedDoctor:
    """Make or replace the acting doctor's entry, and list it.

    Raises:
        NotAuthenticated: the user is gone.
    """
    actor = act.known_actor
    # Two first entries at once have no row to queue on.
    await lock_thing(direct, "doctor", actor.user_id)
    person = await people.person(direct, actor.user_id)
    if person is None:
        raise NotAuthenticated("The session has ended; log in again.")
    before = await queries.lock_doctor(direct, actor.user_id)
    doctor = SeenDoctor(
        id=actor.user_id,
        full_name=person.full_name,
        specialization=wanted.specialization,
        languages=list(wanted.languages),
        fee_minor=wanted.fee.amount_minor,
        fee_currency=wanted.fee.currency,
        time_zone=wanted.time_zone,
        bio=wanted.bio,
        registration_number=wanted.registration_number,
        listed_at=before.listed_at if before else act.now,
    )
    version = before.version + 1 if before else 1
    await queries.write_doctor(direct, doctor, version=version)
    await append_audit(direct, act, AuditEntry("doctor.write", "doctor", doctor.id))
    await append_events(direct, act, Event(DOCTOR_CHANGED, doctor.id, version, {"doctor_id": str(doctor.id)}))
    return ChangedDoctor(doctor, before.specialization if before else doctor.specialization)


def read_doctor(doctor_id: DoctorId) -> Look[DoctorReply]:
    """Look an entry up.

    Raises:
        NotFound: there is none, or it is not listed and you are neither an admin nor the doctor.
    """

    def judge(act: Act, rows: Found) -> Shown[DoctorReply]:
        doctor, is_shown = queries.doctor_in(rows) or (None, False)
        sees_all = doctor is not None and may_see_registration(doctor, act.actor)
        if doctor is None or not (sees_all or is_shown):
            raise NotFound("There is no such doctor.")
        return Shown(DoctorReply.shown(doctor, with_registration=sees_all))

    return Look(queries.LOOK_AT_DOCTOR, (doctor_id,), judge)


def list_doctors(
    *, specialization: str | None, language: str | None, after: Cursor | None, limit: int
) -> Look[Page[DoctorReply]]:
    """Page through the listed doctors in the order of their listing."""

    def judge(act: Act, rows: Found) -> Shown[Page[DoctorReply]]:
        page = page_of(
            queries.doctors_in(rows),
            limit,
            item=lambda doctor: DoctorReply.shown(doctor, with_registration=may_see_registration(doctor, act.actor)),
            place=lambda doctor: Cursor(doctor.listed_at, doctor.id),
        )
        return Shown(page)

    place = queries.directory_place(specialization=specialization, language=language, after=after, limit=limit + 1)
    return Look(queries.LOOK_AT_DOCTORS, place, judge)
