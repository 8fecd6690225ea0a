"""What the booking service is made of."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from telemed.booking.appointments.desk import OpenDesk
from telemed.booking.appointments.routes import router as appointments
from telemed.booking.doctors.routes import router as doctors
from telemed.booking.invariants import JOBS
from telemed.booking.problems import PatientBusy, SlotOverlap, SlotTaken
from telemed.booking.slots.routes import router as slots
from telemed.booking.slots.search import SlotSearch
from telemed.booking.slots.shelf import SlotShelf
from telemed.booking.subscriptions import SUBSCRIPTIONS
from telemed.kernel.priority import Priority
from telemed.kernel.resources import Resources
from telemed.kernel.service import Parts, Service


@asynccontextmanager
async def _open_parts(resources: Resources) -> AsyncIterator[Parts]:
    shelf = SlotShelf(resources.cache, resources.clock, resources.reads)
    yield {SlotShelf: shelf, SlotSearch: SlotSearch(resources, shelf), OpenDesk: OpenDesk(resources.db)}


SERVICE = Service(
    name="booking",
    title="booking",
    # Appointments first: /booking/slots/book must not be taken for a slot's id.
    routers=(appointments, doctors, slots),
    constraint_problems={
        "appointments_doctor_no_overlap": SlotTaken,
        "appointments_patient_no_overlap": PatientBusy,
        "slots_no_overlap": SlotOverlap,
    },
    priorities={
        "POST /booking/slots/book": Priority.CRITICAL,
        "POST /booking/appointments/{appointment_id}/cancel": Priority.CRITICAL,
        "POST /booking/appointments/{appointment_id}/reschedule": Priority.CRITICAL,
        "GET /booking/slots/search": Priority.BROWSING,
        "GET /booking/doctors": Priority.BROWSING,
        "GET /booking/doctors/{doctor_id}": Priority.BROWSING,
    },
    memories={"/booking/slots/search": SlotSearch},
    straight=(
        "POST /booking/slots/book",
        "GET /booking/slots/search",
        "GET /booking/doctors",
        "GET /booking/doctors/{doctor_id}",
        "GET /booking/appointments",
        "GET /booking/appointments/{appointment_id}",
        "POST /booking/appointments/{appointment_id}/cancel",
        "POST /booking/appointments/{appointment_id}/reschedule",
        "POST /booking/slots",
        "DELETE /booking/slots/{slot_id}",
        "PUT /booking/doctors/me",
    ),
    jobs=JOBS,
    subscriptions=SUBSCRIPTIONS,
    open_parts=_open_parts,
)
