"""Pure decisions about the directory."""

from telemed.booking.doctors.models import SeenDoctor
from telemed.contracts.roles import Role
from telemed.kernel.acts import Actor


def may_see_registration(doctor: SeenDoctor, actor: Actor | None) -> bool:
    """Tell whether the registration number is shown: to admins and to the doctor."""
    return actor is not None and (actor.role == Role.ADMIN or actor.user_id == doctor.id)
