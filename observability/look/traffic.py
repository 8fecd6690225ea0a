"""People who use the platform: an open loop, so that a slow platform is asked as often as a quick one."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx

from telemed.local.demo.accounts import DEMO_PASSWORD

PATIENTS = 6
_AT_ONCE = 200  # requests that may be under way; beyond, an arrival is left out and counted
_MIX = (("search", 60), ("doctors", 15), ("appointments", 15), ("book", 10))


@dataclass
class Traffic:
    """What has been asked, and what came of it."""

    client: httpx.AsyncClient
    tokens: list[str] = field(default_factory=list)
    slots: list[str] = field(default_factory=list)
    booked: list[tuple[str, str]] = field(default_factory=list)  # token, appointment
    answers: dict[int, int] = field(default_factory=dict)
    left_out: int = 0

    async def sign_in(self) -> None:
        """Make patients, whose calendars are empty, and keep their tokens."""
        for number in range(PATIENTS):
            account = {"email": f"look-{number}@example.com", "password": DEMO_PASSWORD}
            await self.client.post("/auth/register", json=account | {"full_name": f"Look {number}"})
            reply = await self.client.post("/auth/login", json=account)
            reply.raise_for_status()
            self.tokens.append(reply.json()["access_token"])

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
        with contextlib.suppress(httpx.TransportError):
            reply = await getattr(self, f"_{kind}")()
            self.answers[reply.status_code] = self.answers.get(reply.status_code, 0) + 1

    async def _search(self) -> httpx.Response:
        reply = await self.client.get("/booking/slots/search", params={"limit": 50})
        if reply.status_code == 200:
            self.slots = [slot["id"] for slot in reply.json()["items"]] or self.slots
        return reply

    async def _doctors(self) -> httpx.Response:
        return await self.client.get("/booking/doctors", params={"limit": 20})

    async def _appointments(self) -> httpx.Response:
        return await self.client.get("/booking/appointments", headers=self._as(random.choice(self.tokens)))

    async def _book(self) -> httpx.Response:
        """Book, or give back what was booked before: slots must not run out."""
        if len(self.booked) > PATIENTS:
            token, appointment = self.booked.pop(0)
            return await self.client.post(f"/booking/appointments/{appointment}/cancel", headers=self._as(token))
        if not self.slots:
            return await self._search()
        token = random.choice(self.tokens)
        slot = random.choice(self.slots)
        reply = await self.client.post("/booking/slots/book", headers=self._as(token), json={"slot_id": slot})
        if reply.status_code == 201:
            self.booked.append((token, reply.json()["id"]))
        return reply

    @staticmethod
    def _as(token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}


@contextlib.asynccontextmanager
async def flowing(api: str, per_second: float) -> AsyncIterator[Traffic]:
    """Let traffic flow for as long as the context lasts."""
    limits = httpx.Limits(max_connections=_AT_ONCE)
    async with httpx.AsyncClient(base_url=api, timeout=20, limits=limits) as client:
        traffic = Traffic(client)
        await traffic.sign_in()
        task = asyncio.create_task(traffic.run(per_second))
        try:
            yield traffic
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
