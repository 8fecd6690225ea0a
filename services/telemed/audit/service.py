"""What the audit service is made of."""

from telemed.audit.chain.jobs import JOBS
from telemed.kernel.service import Service

SERVICE = Service(name="audit", title="audit", jobs=JOBS)
