"""What the consultation service is made of."""

from telemed.kernel.service import Service

SERVICE = Service(name="consultation", title="consultations")
