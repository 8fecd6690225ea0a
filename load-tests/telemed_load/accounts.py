"""Gets the people of a load: two sources of accounts, and the slots that their doctors publish.

Without a secret, a few accounts log in and everybody plays one of them. Who holds the platform's secret may take the
people of a data set (load-tests/dataset), whose tokens are minted: hashing a thousand passwords takes minutes.
"""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import httpx

from telemed_load.journeys.patients import accept
from telemed_load.people import Account, Due, Population, Slot
from telemed_load.problems import LoadProblem
from telemed_load.profile import Profile, Stampede
from telemed_load.settings_file import settings_from

BATCH = 500  # slots that a doctor may publish in one request
SLOT = timedelta(minutes=5)  # the shortest that there is
NEAR = timedelta(minutes=15)  # a visit may begin so long before its time
DUE_WITHIN_HOURS = 18  # of the 24 for which visits are open where they are made to be due
# Beyond what the demo and the data sets fill; a day by chance, as an earlier load may have filled the others.
FIRST_FREE_DAY, LAST_FREE_DAY = 150, 1500


class Accounts(Protocol):
    """Where accounts come from."""

    def people(self, profile: Profile, client: httpx.Client) -> Population:
        """Give at most as many as the profile asks for, logged in, without slots.

        Raises:
            LoadProblem: there are none.
        """
        ...


class DemoAccounts:
    """The demo's people, or others with the same password, who log in like anybody: few of them, played by all."""

    def __init__(self, patients: int = 24, doctors: int = 40) -> None:
        self._patients, self._doctors = patients, doctors

    def people(self, profile: Profile, client: httpx.Client) -> Population:
        """Log in as some of the demo's people."""
        from telemed.local.demo.accounts import DEMO_PASSWORD
        from telemed.local.demo.cast import ADMIN, doctors, patients

        def logged_in(addresses: Sequence[str], wanted: int) -> list[Account]:
            return [login(client, address, DEMO_PASSWORD) for address in addresses[:wanted]]

        cast = doctors()
        # Where only some doctors are wanted, they are of all specializations.
        first = sorted(cast, key=lambda one: sum(other.specialization == one.specialization for other in
                                                 cast[: cast.index(one)]))  # fmt: skip
        return Population(
            patients=logged_in([one.email for one in patients()], min(self._patients, profile.people.patients)),
            doctors=logged_in([one.email for one in first], min(self._doctors, profile.people.doctors)),
            admins=logged_in([ADMIN.email], 1),
            slots=[],
            specializations=sorted({one.specialization for one in cast}),
            languages=["en", "hi", "de", "es"],
            visit_opens_before_seconds=NEAR.total_seconds(),
            described="the demo's accounts and slots",
        )


class DataSetAccounts:
    """The people of a data set that is in the platform's database, with tokens from the platform's secret."""

    def __init__(self, secret: Path) -> None:
        self._settings = settings_from(secret)

    def people(self, profile: Profile, client: httpx.Client) -> Population:
        """Take people with sessions, of the patients those without visits first."""
        from dataset.cast import SPECIALIZATIONS

        patients, doctors, admins = asyncio.run(self._bearers(profile))
        if not (patients and doctors and admins):
            raise LoadProblem(
                "The platform's database holds no data set: `python load-tests/dataset load --slots 1e5 --beside` "
                "makes one; or leave --secret out, to log in with the demo's accounts."
            )
        return Population(
            patients=patients,
            doctors=doctors,
            admins=admins,
            slots=[],
            specializations=list(SPECIALIZATIONS),
            languages=["en", "hi", "de", "es"],
            visit_opens_before_seconds=self._settings.visit_opens_before_minutes * 60.0,
            described=f"a data set of which {len(patients)} patients and {len(doctors)} doctors took part",
        )

    async def _bearers(self, profile: Profile) -> tuple[list[Account], list[Account], list[Account]]:
        from dataset.cast import PASSWORD
        from dataset.tokens import Bearer, Mint, bearers, owner_connection

        mint = Mint(self._settings)

        def account(bearer: Bearer) -> Account:
            tokens = mint.tokens(bearer)
            return Account(
                id=str(bearer.id),
                email=bearer.email,
                token=tokens.access_token,
                expires_at=time.time() + tokens.expires_in_seconds,
                refresh_token=tokens.refresh_token,
                password=PASSWORD,
            )

        async with owner_connection(self._settings) as connection:
            everybody = await connection.fetchval("SELECT count(*) FROM auth.users WHERE email LIKE 'patient.%'")
            wanted = profile.people
            # The second half of a data set's patients has no visits yet, and is refused nothing for being elsewhere.
            skip = max(0, min(everybody // 2, everybody - wanted.patients))
            return (
                [account(one) for one in await bearers(connection, "patient", wanted.patients, skip=skip)],
                [account(one) for one in await bearers(connection, "doctor", wanted.doctors)],
                [account(one) for one in await bearers(connection, "admin", 1)],
            )


def login(client: httpx.Client, email: str, password: str) -> Account:
    """Log in; waits when the platform asks for that.

    Raises:
        LoadProblem: it is refused.
    """
    for _ in range(5):
        reply = client.post("/auth/login", json={"email": email, "password": password})
        if reply.status_code != 503:
            break
        asked = reply.headers.get("Retry-After", "1")
        time.sleep(min(5, int(asked)) if asked.isdecimal() else 5)  # a gateway in front may name a date
    if reply.status_code != 200:
        raise LoadProblem(f"{client.base_url} does not let {email} log in (status {reply.status_code}).")
    tokens = reply.json()
    account = Account("", email, "", 0.0, password=password)
    accept(account, tokens, time.time())
    account.id = client.get("/auth/me", headers=bearer(account)).json()["id"]
    return account


def bearer(account: Account) -> dict[str, str]:
    """Give the header of somebody's request."""
    headers = {"Authorization": f"Bearer {account.token}"}
    return headers | ({"X-Consistency-Token": account.consistency} if account.consistency else {})


def publish(population: Population, profile: Profile, client: httpx.Client) -> None:
    """Let the doctors publish what the profile asks for: in a far year, and a few whose visits can begin at once."""
    draw = random.Random()  # noqa: S311 - days by chance, so that loads one after the other do not meet
    wanted = profile.people.slots
    each = -(-wanted // len(population.doctors))
    for doctor in population.doctors:
        if each:
            population.slots += _published_somewhere(client, doctor, each, draw)
        if not isinstance(profile.shape, Stampede) and population.visit_opens_before_seconds <= NEAR.total_seconds():
            _publish_near(client, doctor)
    if isinstance(profile.shape, Stampede):
        population.contested = population.slots[: profile.shape.slots]


def book_due(population: Population, wanted: int, client: httpx.Client) -> None:
    """Let patients book what is due in the window: most of those whom a doctor sees today have booked days ago.

    Nothing is, where visits open so late that what is published for them (`publish`) must be booked in the window.
    """
    doctors = population.doctors
    if not wanted or population.visit_opens_before_seconds <= NEAR.total_seconds():
        return
    each = -(-wanted // len(doctors))
    for index, doctor in enumerate(doctors):
        # Patients of their own for every doctor, so that nobody is in two places; with too few, some are refused.
        patients = population.patients[index :: len(doctors)] or population.patients
        for place, slot in enumerate(_published_within_hours(client, doctor, each)):
            patient = patients[place % len(patients)]
            body = {"slot_id": slot.id, "reason": "Load test"}
            reply = client.post("/booking/slots/book", json=body, headers=bearer(patient))
            if reply.status_code == 201:
                population.due.append(Due(reply.json()["id"], slot, patient.id))


def _published_within_hours(client: httpx.Client, doctor: Account, count: int) -> list[Slot]:
    """Publish at an hour at which the doctor does not work; none, where there is no such hour."""
    first = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=10)
    for hours in range(DUE_WITHIN_HOURS):
        reply = _publish(client, doctor, [first + timedelta(hours=hours) + SLOT * place for place in range(count)])
        if reply.status_code == 201:
            return [Slot.read(item, item["doctor_id"]) for item in reply.json()["items"]]
    return []


def _published_somewhere(client: httpx.Client, doctor: Account, count: int, draw: random.Random) -> list[Slot]:
    for _ in range(20):
        first = _midnight() + timedelta(days=draw.randint(FIRST_FREE_DAY, LAST_FREE_DAY))
        made: list[Slot] = []
        for begin in range(0, count, BATCH):
            times = [first + SLOT * place for place in range(begin, min(begin + BATCH, count))]
            reply = _publish(client, doctor, times)
            if reply.status_code != 201:
                break
            made += [Slot.read(item, item["doctor_id"]) for item in reply.json()["items"]]
        if len(made) == count:
            return made
    raise LoadProblem(f"The slots of {doctor.email} cannot be published: {reply.status_code} {reply.text[:200]}")


def _publish_near(client: httpx.Client, doctor: Account) -> None:
    # Refused where the doctor has slots at that time already, which is as good.
    first = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=3)
    for place in range(3):
        _publish(client, doctor, [first + SLOT * place])


def _publish(client: httpx.Client, doctor: Account, times: Sequence[datetime]) -> httpx.Response:
    body = {"slots": [{"starts_at": one.isoformat(), "ends_at": (one + SLOT).isoformat()} for one in times]}
    return client.post("/booking/slots", json=body, headers=bearer(doctor), timeout=60)


def _midnight() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def pages(client: httpx.Client, path: str, account: Account) -> Iterator[dict[str, Any]]:
    """Give everything that a list shows, page after page."""
    cursor: str | None = None
    while True:
        parameters = {"limit": "100"} | ({"cursor": cursor} if cursor else {})
        reply = client.get(path, params=parameters, headers=bearer(account))
        if reply.status_code != 200:
            raise LoadProblem(f"{path} answers {reply.status_code} to {account.email}.")
        page = reply.json()
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return
