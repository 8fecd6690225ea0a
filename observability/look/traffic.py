"""People who use the platform: an open loop, so that a slow platform is asked as often as a quick one."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from telemed.local.demo.accounts import DEMO_PASSWORD

PATIENTS = 6
_AT_ONCE = 200  # requests that may be under way; beyond, an arrival is left out and counted
# Few sign in: a login costs what nine hundred cached reads cost, and counts as a write, of which one in twenty may be
# slow before somebody hears of it.
_MIX = (("search", 590), ("doctors", 150), ("appointments", 150), ("book", 100), ("login", 2))


@dataclass
class Traffic:
    """What has been asked, and what came of it."""

    client: httpx.AsyncClient
    apis: Callable[[], list[str]]  # addresses of the processes that a load balancer would choose from
    tokens: list[str] = field(default_factory=list)
    slots: list[str] = field(default_factory=list)
    booked: list[tuple[int, str]] = field(default_factory=list)  # patient, appointment
    answers: dict[int, int] = field(default_factory=dict)
    left_out: int = 0
    unanswered: int = 0

    async def sign_in(self) -> None:
        """Make patients, whose calendars are empty, and keep their tokens."""
        for number in range(PATIENTS):
            await self._ask("POST", "/auth/register", json=_account(number) | {"full_name": f"Look {number}"})
            self.tokens.append("")
            (await self._login(number)).raise_for_status()

    async def run(self, per_second: float) -> None:
        """Ask until cancelled; arrivals do not wait for answers."""
        waiting: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            while True:
                due += random.expovariate(per_second)
                await asyncio.sleep(max(0.0, due - loop.time()))
                if len(waiting) >= _AT_ONCE:
                    self.left_out += 1
                    continue
                task = asyncio.create_task(self._one())
                waiting.add(task)
                task.add_done_callback(waiting.discard)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _one(self) -> None:
        kind = random.choices([name for name, _ in _MIX], [weight for _, weight in _MIX])[0]
        try:
            reply = await getattr(self, f"_{kind}")()
        except httpx.TransportError:
            self.unanswered += 1
        else:
            self.answers[reply.status_code] = self.answers.get(reply.status_code, 0) + 1

    async def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return await self.client.request(method, f"{random.choice(self.apis())}{path}", **more)

    async def _login(self, number: int | None = None) -> httpx.Response:
        """Sign a patient in again, long before the last token ends."""
        number = random.randrange(PATIENTS) if number is None else number
        reply = await self._ask("POST", "/auth/login", json=_account(number))
        if reply.status_code == 200:
            self.tokens[number] = reply.json()["access_token"]
        return reply

    async def _search(self) -> httpx.Response:
        reply = await self._ask("GET", "/booking/slots/search", params={"limit": 50})
        if reply.status_code == 200:
            self.slots = [slot["id"] for slot in reply.json()["items"]] or self.slots
        return reply

    async def _doctors(self) -> httpx.Response:
        return await self._ask("GET", "/booking/doctors", params={"limit": 20})

    async def _appointments(self) -> httpx.Response:
        return await self._ask("GET", "/booking/appointments", headers=self._as(random.randrange(PATIENTS)))

    async def _book(self) -> httpx.Response:
        """Book, or give back what was booked before: slots must not run out."""
        if len(self.booked) > PATIENTS:
            patient, appointment = self.booked.pop(0)
            return await self._ask("POST", f"/booking/appointments/{appointment}/cancel", headers=self._as(patient))
        if not self.slots:
            return await self._search()
        patient = random.randrange(PATIENTS)
        slot = random.choice(self.slots)
        reply = await self._ask("POST", "/booking/slots/book", headers=self._as(patient), json={"slot_id": slot})
        if reply.status_code == 201:
            self.booked.append((patient, reply.json()["id"]))
        return reply

    def _as(self, patient: int) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[patient]}"}


def _account(number: int) -> dict[str, str]:
    return {"email": f"look-{number}@example.com", "password": DEMO_PASSWORD}


@contextlib.asynccontextmanager
async def flowing(apis: Callable[[], list[str]], per_second: float) -> AsyncIterator[Traffic]:
    """Let traffic flow for as long as the context lasts."""
    limits = httpx.Limits(max_connections=_AT_ONCE)
    async with httpx.AsyncClient(timeout=20, limits=limits) as client:
        traffic = Traffic(client, apis)
        await traffic.sign_in()
        task = asyncio.create_task(traffic.run(per_second))
        try:
            yield traffic
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
