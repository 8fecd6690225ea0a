"""What the audit service is made of."""

from telemed.audit.chain.jobs import JOBS
from telemed.audit.proof.rounds import VERIFY
from telemed.audit.trail.routes import router
from telemed.kernel.priority import Priority
from telemed.kernel.service import Service

SERVICE = Service(
    name="audit",
    title="audit",
    routers=(router,),
    priorities={"GET /audit/events": Priority.EXPORT},
    jobs=(*JOBS, VERIFY),
)
