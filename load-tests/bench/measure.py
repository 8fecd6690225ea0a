"""Measure what each request costs in CPU, and write services/telemed/capacity/measured.toml: `make measure`.

Cost is counted in CPU time of the process that answers (and of PostgreSQL's), read from the kernel before and after:
not in seconds of the clock, which on a machine that others use say how busy those are. What others do still shows, as
shared caches and cores that slow down: some 30 %, so the machine's load stands in the file.
"""

import argparse
import asyncio
import os
import platform
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2] / name) for name in (".", "services", "load-tests")]

import httpx
from tests.support.clinic import Clinic
from tests.support.people import People, User
from tests.support.platform import Platform, TelemedProcess

from bench.stage import ROOT, commit, cpu_seconds, family, ground
from telemed.kernel.clock import SystemClock
from telemed.kernel.text import rfc3339

TARGET = ROOT / "services" / "telemed" / "capacity" / "measured.toml"
COMMAND = "make measure"
AT_ONCE = 8  # requests under way: enough to keep the process busy, few enough not to queue
PASSWORD = "seven sailors sing softly"  # of people who live as long as the measurement
Call = Callable[[int], Awaitable[httpx.Response]]


@dataclass(frozen=True)
class Cost:
    """What one request of a kind costs, in milliseconds of CPU."""

    name: str
    service: str
    requests: int
    service_cpu_ms: float
    database_cpu_ms: float


class Bench:
    """A platform with one process of each service, and the counters of its processes."""

    def __init__(self, platform_: Platform, postgres: int, scale: float) -> None:
        self._platform = platform_
        self._postgres = postgres
        self._scale = scale
        self.costs: list[Cost] = []

    async def measure(self, name: str, service: str, requests: int, call: Call, expected: int) -> None:
        """Send the requests, *AT_ONCE* at a time, and note what they cost; the first tenth warms up."""
        wanted = max(AT_ONCE, int(requests * self._scale))
        process = next(one for one in self._platform.processes if one.name == service)
        numbers = count()
        await self._send(max(AT_ONCE, wanted // 10), numbers, call, expected)
        before = self._spent(process)
        await self._send(wanted, numbers, call, expected)
        own, database = (after - earlier for after, earlier in zip(self._spent(process), before, strict=True))
        cost = Cost(name, service, wanted, 1000 * own / wanted, 1000 * database / wanted)
        self.costs.append(cost)
        print(f"{name:22} {wanted:6} requests, {cost.service_cpu_ms:8.2f} ms {service}, "
              f"{cost.database_cpu_ms:6.2f} ms PostgreSQL", flush=True)  # fmt: skip

    def _spent(self, process: TelemedProcess) -> tuple[float, float]:
        return cpu_seconds(process.running.pid), cpu_seconds(*family(self._postgres))

    async def _send(self, wanted: int, numbers: Any, call: Call, expected: int) -> None:
        left = iter(range(wanted))

        async def one_after_the_other() -> None:
            for _ in left:
                reply = await call(next(numbers))
                assert reply.status_code == expected, reply.text

        await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))


@dataclass
class Stage:
    """Who takes part, and the things that they have."""

    bench: Bench
    people: People
    clinic: Clinic
    client: httpx.AsyncClient
    doctors: dict[str, User] = field(default_factory=dict)

    async def all(self) -> None:
        """Measure everything, each thing from what the one before has made."""
        await self._identity()
        slots = await self._many_slots()
        patients = await self.people.patients(len(slots))
        await self._search(next(iter(self.doctors)))
        made = await self._bookings(slots, patients)
        await self._reads(made)
        await self._visits(made)

    async def _identity(self) -> None:
        account = {"email": "bench@example.com", "password": PASSWORD}
        (await self.client.post("/auth/register", json=account | {"full_name": "Bench"})).raise_for_status()
        await self.bench.measure("login", "auth", 40, lambda _: self.client.post("/auth/login", json=account), 200)
        tokens = [(await self.client.post("/auth/login", json=account)).json() for _ in range(AT_ONCE)]

        async def refresh(number: int) -> httpx.Response:
            holder = tokens[number % AT_ONCE]
            reply = await self.client.post("/auth/refresh", json={"refresh_token": holder["refresh_token"]})
            holder |= reply.json() if reply.is_success else {}
            return reply

        await self.bench.measure("refresh", "auth", 400, refresh, 200)
        me = {"Authorization": f"Bearer {tokens[0]['access_token']}"}
        await self.bench.measure("me", "auth", 400, lambda _: self.client.get("/auth/me", headers=me), 200)

    async def _search(self, doctor_id: str) -> None:
        query = "/booking/slots/search?specialization=cardiology&limit=20"
        await self.bench.measure("search_cached", "booking", 2000, lambda _: self.client.get(query), 200)
        start = datetime.now(UTC)

        def other(number: int) -> Awaitable[httpx.Response]:
            at = rfc3339(start + timedelta(seconds=number))
            return self.client.get("/booking/slots/search", params={"doctor_id": doctor_id, "from": at})

        await self.bench.measure("search_uncached", "booking", 400, other, 200)
        await self.bench.measure("directory", "booking", 400, lambda _: self.client.get("/booking/doctors"), 200)

    async def _bookings(self, slots: list[Any], patients: list[User]) -> list[tuple[User, dict[str, Any]]]:
        made: list[tuple[User, dict[str, Any]]] = []

        async def book(number: int) -> httpx.Response:
            reply = await patients[number].post(
                "/booking/slots/book", {"slot_id": slots[number]["id"], "reason": "Itching"}, key=f"bench-{number}"
            )
            made.append((patients[number], reply.json()))
            return reply

        await self.bench.measure("book", "booking", 400, book, 201)
        cancelled = made[: len(made) // 3]
        del made[: len(cancelled)]

        def cancel(number: int) -> Awaitable[httpx.Response]:
            patient, appointment = cancelled[number]
            return patient.post(f"/booking/appointments/{appointment['id']}/cancel")

        await self.bench.measure("cancel", "booking", 100, cancel, 200)
        return made

    async def _reads(self, made: list[tuple[User, dict[str, Any]]]) -> None:
        for name, service, path in (
            ("appointment", "booking", "/booking/appointments/{}"),
            ("appointments", "booking", "/booking/appointments"),
            ("consultation", "consultation", "/consultation/{}"),
            ("consultations", "consultation", "/consultation"),
        ):

            def read(number: int, path: str = path) -> Awaitable[httpx.Response]:
                patient, appointment = made[number % len(made)]
                return patient.get(path.format(appointment["id"]))

            await self.bench.measure(name, service, 400, read, 200)

    async def _visits(self, made: list[tuple[User, dict[str, Any]]]) -> None:
        body = {
            "diagnosis": "Acute viral pharyngitis",
            "items": [{"medicine": "Paracetamol", "dosage": "1", "frequency": "daily", "duration_days": 5}],
        }

        def step(path: str) -> Call:
            def send(number: int) -> Awaitable[httpx.Response]:
                appointment = made[number][1]
                doctor = self.doctors[appointment["doctor_id"]]
                return doctor.post(
                    f"/consultation/{appointment['id']}/{path}", body if path == "prescription" else None
                )

            return send

        await self.bench.measure("start", "consultation", 200, step("start"), 200)
        await self.bench.measure("prescribe", "consultation", 200, step("prescription"), 201)

        def read(number: int) -> Awaitable[httpx.Response]:
            patient, appointment = made[number % 200]
            return patient.get(f"/consultation/{appointment['id']}/prescription")

        await self.bench.measure("prescription", "consultation", 400, read, 200)
        await self.bench.measure("complete", "consultation", 200, step("complete"), 200)

    async def _many_slots(self) -> list[dict[str, Any]]:
        """Publish a day's slots of enough doctors."""
        made: list[dict[str, Any]] = []
        first = datetime.now(UTC) + timedelta(minutes=10)
        while len(made) < 560:
            doctor = await self.clinic.doctor()
            self.doctors[doctor.id] = doctor
            made += await self.clinic.slots(doctor, 40, starts_at=first)
        return made


async def run(scale: float) -> list[Cost]:
    """Start a platform of its own, measure, and end it."""
    # Real hashing, as in production; and visits that may start a day early, so that there can be hundreds.
    async with ground(bcrypt_cost=12, visit_opens_before_minutes=24 * 60) as on:
        await on.running.serve("auth", "booking", "consultation")
        bench = Bench(on.running, on.postgres, scale)
        people = People(on.running.client, on.database.owner, on.settings, SystemClock())
        clinic = Clinic(people, datetime.now(UTC) + timedelta(days=1))
        await Stage(bench, people, clinic, on.running.client).all()
        return bench.costs


def written(costs: list[Cost]) -> str:
    """Write the file, with what a reader needs to judge its numbers."""
    facts = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": f"{os.cpu_count()} cores, {_processor()}, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "command": COMMAND,
        "load_average": f"{os.getloadavg()[0]:.1f} at the end, of these about 2 the measurement's own",
    }
    lines = [
        "# What one request costs, in milliseconds of CPU: of the service's process, and of PostgreSQL (one server,",
        f"# fsync on, no pooler). Written by `{COMMAND}` (load-tests/bench/measure.py); renew it there, never by hand.",
        "",
        "[measured]",
        *(f'{key} = "{value}"' for key, value in facts.items()),
    ]
    for cost in costs:
        lines += [
            "",
            f"[costs.{cost.name}]",
            f'service = "{cost.service}"',
            f"requests = {cost.requests}",
            f"service_cpu_ms = {cost.service_cpu_ms:.2f}",
            f"database_cpu_ms = {cost.database_cpu_ms:.2f}",
        ]
    return "\n".join(lines) + "\n"


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="Share of the requests to send; 0.1 to try it.")
    parser.add_argument("--out", type=Path, default=TARGET, help="File to write.")
    options = parser.parse_args()
    costs = asyncio.run(run(options.scale))
    options.out.write_text(written(costs), encoding="utf-8")


if __name__ == "__main__":
    main()
