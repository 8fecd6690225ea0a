"""Who takes part: one synthetic doctor and two synthetic patients, the same in every run.

They are accounts like any other, and say in every name that they are nobody. Their passwords are stored nowhere: they
are derived from the deployment's secret (or from the doctor's password, where that is given), so that runs which know
it share the accounts without resetting each other's, and nobody else can log in.
"""

import asyncio
import base64
import hashlib
import hmac
from dataclasses import dataclass

from telemed.auth.accounts import Account, provide_account
from telemed.contracts.roles import Role
from telemed.kernel.keys import derived_key
from telemed.kernel.settings import Settings

# Nobody's mail is there: RFC 2606 keeps example.com for such uses.
DOMAIN = "smoke.example.com"
SPECIALIZATION = "Synthetic (not a person)"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account, or who makes one."""

    name: str
    email: str
    password: str


@dataclass(frozen=True, slots=True)
class Cast:
    """Everybody. *other* wants what *patient* has."""

    doctor: Person
    patient: Person
    other: Person


def cast_from_database(settings: Settings) -> Cast:
    """Make sure that the doctor has an account, and give everybody.

    Raises:
        SettingsProblem: the database cannot be used.
    """
    key = derived_key(settings.secret, "smoke")
    doctor = Person("Synthetic Doctor", f"doctor@{DOMAIN}", _derived(key, "doctor"))
    account = Account(doctor.email, doctor.name, doctor.password, Role.DOCTOR)
    asyncio.run(provide_account(settings, account, because="telemed-smoke"))
    return _with_patients(doctor, key)


def cast_of_given_doctor(email: str, password: str) -> Cast:
    """Take a doctor whose account somebody has made before."""
    return _with_patients(Person("Synthetic Doctor", email, password), derived_key(password.encode(), "smoke"))


def _with_patients(doctor: Person, key: bytes) -> Cast:
    return Cast(doctor, _patient("Synthetic Patient", key), _patient("Synthetic Patient Two", key))


def _patient(name: str, key: bytes) -> Person:
    # Anybody may register any address. One that nobody can guess cannot be taken from us.
    place = hmac.new(key, b"address of " + name.encode(), hashlib.sha256).hexdigest()[:16]
    return Person(name, f"patient-{place}@{DOMAIN}", _derived(key, name))


def _derived(key: bytes, purpose: str) -> str:
    digest = hmac.new(key, b"password of " + purpose.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
