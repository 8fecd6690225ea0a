"""What the booking service is made of."""

from telemed.kernel.service import Service

SERVICE = Service(name="booking", title="booking")
