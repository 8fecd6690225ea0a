"""The accounts that a visitor of the demo can use. Everybody knows their password, so they exist in demos only."""

from dataclasses import dataclass

from telemed.contracts.roles import Role
from telemed.local.demo.cast import ADMIN, doctors, patients

# Satisfies the policy of auth/passwords, and holds nothing that a shell would read as more than a character.
DEMO_PASSWORD = "violet harbor quilt kettle"  # noqa: S105 - printed at every start, in demos only


@dataclass(frozen=True, slots=True)
class DemoAccount:
    """Somebody whom a visitor can play."""

    role: Role
    full_name: str
    email: str
    password: str = DEMO_PASSWORD


def demo_accounts() -> list[DemoAccount]:
    """Give one account for each role."""
    people = ((Role.ADMIN, ADMIN), (Role.DOCTOR, doctors()[0]), (Role.PATIENT, patients()[0]))
    return [DemoAccount(role, person.full_name, person.email) for role, person in people]
