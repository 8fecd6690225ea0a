"""What the audit service is made of."""

from telemed.kernel.service import Service

SERVICE = Service(name="audit", title="audit")
