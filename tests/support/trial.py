"""Bookings by clients who never give up, while a killer goes about among the processes.

A client keeps what was acknowledged and repeats what was not, under the same idempotency key, until it has a final
answer. Everything random comes from one seed, and kills happen at counts of answers, not at times: a slow machine
runs the same trial as a fast one.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace

import httpx
from tests.support.clinic import SLOT, Clinic
from tests.support.people import People, User
from tests.support.platform import Platform, TelemedProcess

# What a client repeats: nothing was done, or nobody knows.
TRANSIENT = frozenset({"key-in-progress", "slot-contended", "overloaded", "unavailable", "outcome-unknown"})
_PAUSE_SECONDS = 0.1  # between two attempts of one client
_BATCH = 500  # slots in one request to publish
UNCLAIMED = 2  # slots of each doctor that nobody wants, so that there is something left to find


@dataclass(frozen=True)
class Size:
    """How large a trial is."""

    slots: int
    claimants: int
    seed: int
    in_flight: int = 48

    @classmethod
    def wanted(cls, *, slots: int, claimants: int) -> "Size":
        """Give this size, or the one that the environment asks for."""
        environment = os.environ
        return cls(
            int(environment.get("TELEMED_TRIAL_SLOTS", slots)),
            int(environment.get("TELEMED_TRIAL_CLAIMANTS", claimants)),
            int(environment.get("TELEMED_TRIAL_SEED", "20261123")),
        )

    @property
    def requests(self) -> int:
        """Count the claims; a fifth more are duplicates of them."""
        return self.slots * self.claimants

    @property
    def kills(self) -> int:
        """Count the processes to be killed: enough in a small trial, not only at the beginning of a large one."""
        return 4 + self.requests // 1000

    @property
    def allowed_seconds(self) -> float:
        """Bound the trial: some 20 requests a second would be a fault in itself."""
        return 240 + self.requests / 20


@dataclass(frozen=True)
class Answer:
    """What must be the same whenever it is given again."""

    status: int
    body: bytes
    location: str | None
    content_type: str | None

    @classmethod
    def of(cls, reply: httpx.Response) -> "Answer":
        """Take it from the reply."""
        return cls(reply.status_code, reply.content, reply.headers.get("Location"), reply.headers.get("Content-Type"))


@dataclass
class Claim:
    """One patient's wish for one slot, under one key, and what was heard of it."""

    patient: User
    slot_id: str
    key: str
    answers: list[Answer] = field(default_factory=list)

    @property
    def appointment_id(self) -> str | None:
        """Give the appointment's id, if the claim won."""
        location = self.answers[0].location if self.answers[0].status == 201 else None
        return location.rsplit("/", 1)[-1] if location else None


class Trial:
    """Claims, who makes them, and how it went."""

    def __init__(self, size: Size, people: People) -> None:
        self.size = size
        self.random = random.Random(size.seed)  # noqa: S311 - to be repeated, not to be secret
        self.claims: list[Claim] = []
        self.doctors: list[User] = []
        self.unclaimed: set[str] = set()
        self._answered = 0
        self._progress = asyncio.Condition()
        self.met = Counter[str]()  # what stood between a request and its final answer
        self._people = people

    async def set_up(self, clinic: Clinic) -> None:
        """Publish the slots and make the patients. No patient wants two slots of the same time."""
        doctors = max(4, self.size.slots // 250)
        times = -(-self.size.slots // doctors)
        patients = await self._people.patients(doctors * self.size.claimants)
        calendars = []
        for _ in range(doctors):
            doctor = await clinic.doctor()
            self.doctors.append(doctor)
            calendars.append(await self._published(clinic, doctor, times + UNCLAIMED))
        wanted = [(calendar[time], time, place) for time in range(times) for place, calendar in enumerate(calendars)]
        wanted = wanted[: self.size.slots]
        self.unclaimed = {slot for calendar in calendars for slot in calendar} - {slot for slot, _, _ in wanted}
        for slot, time, place in wanted:
            for number in range(self.size.claimants):
                patient = patients[(place * self.size.claimants + number + 7 * time) % len(patients)]
                self.claims.append(Claim(patient, slot, f"{self.random.getrandbits(128):032x}"))
        # Neighbours change places, so that slots are wanted at about the same time but in no order.
        spread = 2 * self.size.claimants * doctors
        keyed = [(place + self.random.uniform(0, spread), claim) for place, claim in enumerate(self.claims)]
        self.claims = [claim for _, claim in sorted(keyed, key=lambda pair: pair[0])]

    async def _published(self, clinic: Clinic, doctor: User, count: int) -> list[str]:
        first = clinic.opens_at
        slots: list[str] = []
        while len(slots) < count:
            starts_at = first + SLOT * len(slots)
            published = await clinic.slots(doctor, min(_BATCH, count - len(slots)), starts_at=starts_at)
            slots += [slot["id"] for slot in published]
        return slots

    async def run(self) -> None:
        """Make every claim; a fifth of them twice, half of these at the same time."""
        gate = asyncio.Semaphore(self.size.in_flight)

        async def one(claim: Claim, chance: float) -> None:
            async with gate:
                if chance < 0.1:
                    await asyncio.gather(self.insist(claim), self.insist(claim))
                else:
                    await self.insist(claim)
                    if chance < 0.2:
                        await self.insist(claim)

        async with asyncio.TaskGroup() as group:
            for claim in self.claims:
                group.create_task(one(claim, self.random.random()))

    async def answers(self, count: int) -> None:
        """Wait until so many final answers have come."""
        async with self._progress:
            await self._progress.wait_for(lambda: self._answered >= count)

    async def insist(self, claim: Claim) -> None:
        """Ask until there is a final answer, and keep it."""
        while True:
            # A fresh token each time: a large trial outlives them.
            patient = replace(claim.patient, token=self._people.token(claim.patient))
            try:
                reply = await patient.post("/booking/slots/book", {"slot_id": claim.slot_id}, key=claim.key)
            except httpx.TransportError:
                self.met["no answer"] += 1
                await asyncio.sleep(2 * _PAUSE_SECONDS)  # a process that is starting needs the processor itself
            else:
                kind = "201" if reply.status_code == 201 else str(reply.json()["type"])
                if kind not in TRANSIENT:
                    assert kind in {"201", "slot-taken"}, reply.text
                    claim.answers.append(Answer.of(reply))
                    self.met[f"{kind} replayed" if "Idempotency-Replayed" in reply.headers else kind] += 1
                    async with self._progress:
                        self._answered += 1
                        self._progress.notify_all()
                    return
                self.met[kind] += 1
            await asyncio.sleep(_PAUSE_SECONDS * self.random.uniform(0.5, 1.5))


class Killer:
    """Kills processes without a warning and starts them again at their old address."""

    def __init__(self, platform: Platform, trial: Trial) -> None:
        self._platform = platform
        self._trial = trial
        self._starting: set[int] = set()
        self._restarts: set[asyncio.Task[object]] = set()
        self.killed = Counter[str]()

    async def go_about(self, victims: Sequence[str]) -> None:
        """Kill at random counts of answers, until as many have died as the trial's size wants."""
        size, chance = self._trial.size, self._trial.random
        moments = sorted(chance.sample(range(size.requests // 20, size.requests * 19 // 20), size.kills))
        for place, moment in enumerate(moments):
            await self._trial.answers(moment)
            await self._kill(victims[place % len(victims)])
        await asyncio.gather(*self._restarts)

    async def _kill(self, name: str) -> None:
        living = await self._somebody(name)
        victim = self._trial.random.choice(living)
        if victim.port is not None:
            self._starting.add(victim.port)
        await self._platform.stop(victim, signal.SIGKILL)
        self.killed[name] += 1
        self._restarts.add(asyncio.create_task(self._start_again(victim)))

    async def _somebody(self, name: str) -> list[TelemedProcess]:
        """Give those of the service who are up; both may be down, and then the clients wait."""
        while True:
            up = [
                one
                for one in self._platform.processes
                if one.name == name and not one.running.has_ended() and one.port not in self._starting
            ]
            if up:
                return up
            await asyncio.sleep(0.01)

    async def _start_again(self, victim: TelemedProcess) -> None:
        if victim.port is None:
            await self._platform.work()
        else:
            await self._platform.serve(victim.name, port=victim.port)
            self._starting.discard(victim.port)


async def beside(
    work: Coroutine[None, None, None], disturbance: Coroutine[None, None, None], *, within_seconds: float
) -> None:
    """Let both run to their ends; the failure of one ends the other."""
    async with asyncio.timeout(within_seconds), asyncio.TaskGroup() as group:
        group.create_task(work)
        group.create_task(disturbance)
