"""Walks over every route of the document, and over the ways in which the platform says no."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
from tests.observability.contract.replies import Answers
from tests.observability.contract.stage import SLOW_SECONDS, Stage
from tests.support.clinic import Clinic
from tests.support.openapi import operations
from tests.support.people import Caller, People
from tests.support.scenes import Scene, Scenes
from tests.support.stalls import BOOK, directory_locked, slot_locked, waiting_for_locks
from tests.support.waiting import until

from telemed.kernel.clock import SystemClock

SYNTHETIC = {"User-Agent": "telemed-smoke/1"}


class Walk:
    """One walk; what was answered is in *answers*."""

    def __init__(self, stage: Stage, owner: asyncpg.Connection, answers: Answers) -> None:
        self._stage = stage
        self._owner = owner
        self._client = answers.watch(stage.platform.client)
        self._short = answers.watch(stage.short.client)
        clock = SystemClock()
        self.people = People(self._client, stage.servers.database.owner, stage.servers.settings, clock)
        self.clinic = Clinic(self.people, clock.now() + timedelta(days=1))
        self.scenes = Scenes(self.people, self.clinic, clock, owner)

    async def every_route(self) -> None:
        """Send each operation's request as it should be, without a token, and with what cannot be read."""
        for name in operations():
            scene = await self.scenes.of(name)
            method = name.split()[0]
            assert scene.caller is not None
            await self._without_token(method, scene)
            reply = await self._send(scene.caller, method, scene)
            assert reply.is_success, (name, reply.status_code, reply.text)
        for process in (self._stage.processes["auth"], self._stage.processes["short"]):
            for path in ("/docs", "/openapi.json", "/docs/assets/swagger-ui.css", "/docs/assets/none", "/nowhere"):
                await self._client_of(process.url, path)

    async def refusals(self) -> None:
        """Have one of every kind that needs no more than a request."""
        scene = await self.scenes.of("POST /booking/slots/book")
        patient, other = scene.patient, await self.people.patient()
        first = await patient.post(BOOK, scene.body, key="walk-1")
        assert first.status_code == 201, first.text
        await patient.post(BOOK, scene.body, key="walk-1")  # replayed
        await patient.post(BOOK, scene.body | {"reason": "another"}, key="walk-1")  # 422 key-reused
        await other.post(BOOK, scene.body)  # 409 taken
        await other.post(BOOK, {"slot_id": str(uuid4())})  # 404
        await self._busy(patient, scene)
        await self._started(other)
        await other.get(f"/booking/appointments/{first.json()['id']}")  # 404: not theirs
        await patient.post("/booking/slots", {"slots": []})  # 403 and 422
        await other.request("POST", BOOK, content=b"{")  # 422
        await other.request("POST", BOOK, content=b'{"reason": "' + b"x" * 300_000 + b'"}')  # 413
        await other.request("PATCH", "/booking/appointments")  # 405
        await other.request("HEAD", "/booking/slots/search")
        await other.get("/booking/slots/search", headers=SYNTHETIC)

    async def throttled(self) -> None:
        """Try wrong passwords until nobody may try any more."""
        for _ in range(12):
            reply = await self.people.nobody.post(
                "/auth/login", {"email": "guess@example.com", "password": "wrong horse"}
            )
            if reply.status_code == 429:
                return
        raise AssertionError("nobody was throttled")

    async def overload(self) -> None:
        """Ask the process that lacks everything for more than it has."""
        patients = await self.people.patients(6)
        async with directory_locked(self._stage.servers.database.owner):
            asked = [self._short.get("/booking/doctors") for _ in range(8)]
            asked += [
                self._short.get("/booking/appointments", headers={"Authorization": f"Bearer {one.token}"})
                for one in patients
            ]
            waiting = [asyncio.ensure_future(one) for one in asked]
            # The one connection waits for the lock, and everybody else is refused.
            await until(lambda: sum(not one.done() for one in waiting) == 1)
            (last,) = (one for one in waiting if not one.done())
            last.cancel()  # a reader who goes before the answer: 499
            process = self._stage.processes["short"]
            await until(lambda: bool(process.logged("request.abandoned")))
        await self._short.get("/booking/slots/search")  # without a cache
        async with directory_locked(self._stage.servers.database.owner):
            slow = asyncio.ensure_future(self._short.get("/booking/doctors"))
            await until(self._somebody_waits)
            await asyncio.sleep(SLOW_SECONDS)  # not for luck: it is to take so long
        assert (await slow).status_code == 200

    async def _busy(self, patient: Caller, scene: Scene) -> None:
        """Book a slot of another doctor at the same time: 409 patient-busy."""
        (slot,) = await self.clinic.slots(await self.clinic.doctor())
        reply = await patient.post(BOOK, {"slot_id": slot["id"]})
        assert reply.status_code == 409, (scene.body, reply.text)

    async def _started(self, patient: Caller) -> None:
        """Book a slot whose time has come: 410."""
        (slot,) = await self.clinic.slots(await self.clinic.doctor())
        now = SystemClock().now()
        await self._owner.execute(
            "UPDATE booking.slots SET starts_at = $2, ends_at = $3 WHERE id = $1",
            UUID(slot["id"]),
            now - timedelta(minutes=1),
            now + timedelta(minutes=29),
        )
        reply = await patient.post(BOOK, {"slot_id": slot["id"]})
        assert reply.status_code == 410, reply.text

    async def impatience(self) -> None:
        """Send a booking over a connection of one's own, and close it while the slot's row is waited for: 499."""
        scene = await self.scenes.open_slot()
        process = self._stage.processes["booking"]
        body = json.dumps({"slot_id": scene.slot["id"]})
        head = (
            f"POST {BOOK} HTTP/1.1\r\nHost: telemed.test\r\nAuthorization: Bearer {scene.patient.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        async with slot_locked(self._stage.servers.database.owner, scene.slot["id"]):
            _, writer = await asyncio.open_connection("127.0.0.1", process.port)
            writer.write((head + body).encode())
            await writer.drain()
            await until(self._somebody_waits)
            writer.close()
            await writer.wait_closed()
            await until(lambda: bool(process.logged("request.abandoned")))

    async def _somebody_waits(self) -> bool:
        return await waiting_for_locks(self._owner) > 0

    async def _without_token(self, method: str, scene: Scene) -> None:
        await self._send(Caller(self._client), method, Scene(scene.patient, scene.doctor, scene.slot, path=scene.path))

    async def _send(self, caller: Caller, method: str, scene: Scene) -> httpx.Response:
        if method == "GET":
            return await caller.get(scene.path, **scene.query)
        return await caller.request(method, scene.path, scene.body)

    async def _client_of(self, url: str, path: str) -> Any:
        async with httpx.AsyncClient(base_url=url, timeout=10) as client:
            return await client.get(path)
