"""Who may become what. Pure."""

from telemed.contracts.roles import Role


def leaves_no_admin(*, role: Role, wanted: Role, admins: int) -> bool:
    """Tell whether giving somebody of *role* the role *wanted* would take away the last of *admins*."""
    return role is Role.ADMIN and wanted is not Role.ADMIN and admins <= 1
