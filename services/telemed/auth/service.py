"""What the auth service is made of."""

from telemed.kernel.service import Service

SERVICE = Service(name="auth", title="identity")
