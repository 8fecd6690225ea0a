"""What the consultation service is made of."""

from telemed.consultation.invariants import JOBS
from telemed.consultation.prescriptions.routes import router as prescriptions
from telemed.consultation.problems import PrescribedMeanwhile
from telemed.consultation.visits.routes import router as visits
from telemed.kernel.priority import Priority
from telemed.kernel.service import Service

SERVICE = Service(
    name="consultation",
    title="consultations",
    routers=(visits, prescriptions),
    constraint_problems={
        "prescriptions_version_key": PrescribedMeanwhile,
        "prescriptions_supersedes_key": PrescribedMeanwhile,
    },
    priorities={
        "POST /consultation/{id}/start": Priority.CRITICAL,
        "POST /consultation/{id}/complete": Priority.CRITICAL,
        "POST /consultation/{id}/no-show": Priority.CRITICAL,
        "POST /consultation/{id}/prescription": Priority.CRITICAL,
    },
    straight=(
        "GET /consultation",
        "GET /consultation/{id}",
        "GET /consultation/{id}/prescription",
        "POST /consultation/{id}/start",
        "POST /consultation/{id}/complete",
        "POST /consultation/{id}/no-show",
        "POST /consultation/{id}/prescription",
    ),
    jobs=JOBS,
)
