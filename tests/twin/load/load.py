"""An open-model load: requests come when they come, however slow the answers are.

Arrivals are a Poisson process from one seed. Every arrival is one wish of one person who is not waiting for anything;
a write is repeated under its Idempotency-Key until it is settled, as a client should who was told nothing, and then
its person looks at what they wrote.
"""

import asyncio
import random
import time
from dataclasses import replace

import httpx
from tests.twin.history.model import Kind, Operation, Outcome, Seen, is_final
from tests.twin.load.availability import FirstAnswer
from tests.twin.load.caller import Caller, Person, Wish
from tests.twin.load.population import Population

_PAUSE_SECONDS = (0.1, 1.5)  # between two attempts: the first, and the longest; doubled each time, with jitter
_TWICE = 0.05  # share of writes that are sent twice at the same moment, under one key

# How often what is wanted, of a hundred arrivals.
MIX: dict[Kind, int] = {
    Kind.SEARCH: 25,
    Kind.BOOK: 32,
    Kind.CANCEL: 13,
    Kind.RESCHEDULE: 8,
    Kind.READ: 10,
    Kind.LIST: 5,
    Kind.START: 3,
    Kind.PRESCRIBE: 4,
}


class Load:
    """The load of one drill."""

    def __init__(self, caller: Caller, population: Population, *, seed: int, per_second: float) -> None:
        self.answers: list[FirstAnswer] = []
        self.resets = 0
        self.caller = caller
        self.population = population
        self.random = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self._seed = seed
        self._per_second = per_second
        self._running: set[asyncio.Task[None]] = set()
        self._arriving: asyncio.Task[None] | None = None
        self._made = 0
        self.broken: list[BaseException] = []

    # --- what a drill does with it

    def start(self) -> None:
        """Let people come."""
        self._arriving = asyncio.create_task(self._arrive())

    async def stop(self, within_seconds: float = 90.0) -> list[str]:
        """Let nobody come any more and wait for those who are here; gives what was never settled."""
        if self._arriving is not None:
            self._arriving.cancel()
            await asyncio.gather(self._arriving, return_exceptions=True)
        waiting = set(self._running)
        if waiting:
            _, waiting = await asyncio.wait(waiting, timeout=within_seconds)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return sorted(task.get_name() for task in waiting)

    def volley(self, count: int) -> None:
        """Let so many patients book at this very moment."""
        for _ in range(count):
            self._begin(Kind.BOOK, time.monotonic())

    def free_patient(self, kind: Kind) -> tuple[Person, Wish]:
        """Give a patient who waits for nothing, with a wish of this kind."""
        found = self._wish(kind)
        assert found is not None, f"nobody can {kind} now"
        return found

    def adopt(self, person: Person, wish: Wish) -> None:
        """Let the person repeat what they have asked for, until it is settled."""
        self._live_on(person, wish, time.monotonic())

    async def one(self, kind: Kind) -> None:
        """Let one person do this, now, and wait for it; somebody books if nobody can."""
        found = self._wish(kind) or self._wish(Kind.BOOK)
        if found is None:
            await asyncio.sleep(_PAUSE_SECONDS[0])
            return
        person, wish = found
        person.is_busy = True
        await self._live(person, wish, time.monotonic())

    async def served_again(self, *, for_seconds: float = 1.5, within_seconds: float = 90.0) -> None:
        """Wait until everybody who came lately was served, writers among them.

        Raises:
            AssertionError: it was not so in time.
        """
        deadline = time.monotonic() + within_seconds
        since = time.monotonic()
        while time.monotonic() < deadline:
            await asyncio.sleep(0.1)
            now = time.monotonic()
            recent = [one for one in self.answers if one.due >= max(since, now - for_seconds)]
            unserved = [one for one in recent if not one.is_right]
            if unserved or len(self.caller.in_flight) > self._per_second:
                since = now
            elif now - since >= for_seconds and any(one.is_write for one in recent):
                return
        raise AssertionError(f"not served again within {within_seconds:.0f} s")

    # --- arrivals

    async def _arrive(self) -> None:
        due = time.monotonic()
        kinds, weights = list(MIX), list(MIX.values())
        while True:
            due += self.random.expovariate(self._per_second)
            kind = self.random.choices(kinds, weights)[0]
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._begin(kind, due)

    def _begin(self, kind: Kind, due: float) -> None:
        found = self._wish(kind)
        if found is None:
            return  # nobody can want that now
        self._live_on(*found, due)

    def _live_on(self, person: Person, wish: Wish, due: float) -> None:
        person.is_busy = True
        task = asyncio.create_task(self._live(person, wish, due), name=f"{wish.kind} under {wish.key}")
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.broken.append(task.exception())  # type: ignore[arg-type]  # there is one

    async def _live(self, person: Person, wish: Wish, due: float) -> None:
        try:
            answer = await self._insist(person, wish, due)
            if answer is None or not wish.is_write:
                return
            if answer.outcome is Outcome.OK and answer.seen:
                self._keep(person, wish, answer.seen[0])
                await self._once(person, self._look(answer.seen[0]), time.monotonic())
            elif answer.refused == "step-not-allowed" and wish.appointment:
                person.appointments.pop(wish.appointment, None)  # somebody else has changed it
        finally:
            person.is_busy = False

    async def _insist(self, person: Person, wish: Wish, due: float) -> Operation | None:
        """Ask until there is a final answer; of reads, once."""
        if not wish.is_write:
            return await self._once(person, wish, due)
        twin = None
        if self.random.random() < _TWICE:
            twin = asyncio.create_task(self.caller.attempt(person, wish))
        pause, answer = _PAUSE_SECONDS[0], await self._once(person, wish, due)
        if twin is not None:
            await twin
        while not is_final(answer):
            await asyncio.sleep(pause * self.random.uniform(0.5, 1.5))
            pause = min(2 * pause, _PAUSE_SECONDS[1])
            answer, _ = await self.caller.attempt(person, wish)
            self._tell(wish, answer)
        return answer

    def _tell(self, wish: Wish, answer: Operation) -> None:
        """Let the task's name say what its person was told last, for those who are never told anything final."""
        task = asyncio.current_task()
        if task is not None:
            task.set_name(f"{wish.kind} under {wish.key}: {answer.refused or 'nobody knows'}")

    async def _once(self, person: Person, wish: Wish, due: float) -> Operation:
        answer, reply = await self.caller.attempt(person, wish)
        self.resets += reply is None
        right = answer.outcome is Outcome.OK or (is_final(answer) and answer.outcome is Outcome.FAIL)
        # Sent twice on purpose: that the other one is being worked on is the right answer.
        right = right or answer.refused in {"key-in-progress", "slot-contended"}
        said = "" if right else answer.refused or (str(reply.status_code) if reply is not None else "no answer")
        self.answers.append(FirstAnswer(due, answer.end - due, right, wish.is_write, wish.kind, said))
        if answer.outcome is Outcome.OK:
            self._complete(person, wish, answer, reply)
        return answer

    def _complete(self, person: Person, wish: Wish, answer: Operation, reply: httpx.Response | None) -> None:
        """Add to a page that was shown whole what was not on it."""
        if reply is None or wish.kind not in {Kind.SEARCH, Kind.LIST} or reply.json()["next_cursor"] is not None:
            return
        if wish.kind is Kind.SEARCH:
            missing = frozenset(self.population.slots[(wish.query or {})["doctor_id"]]) - answer.shown
        else:
            # Not what was acknowledged while the page was under way: a person waits for one thing at a time.
            missing = frozenset(person.appointments) - {seen.id for seen in answer.seen}
        place = self.caller.history.index(answer, max(0, len(self.caller.history) - 1000))
        self.caller.history[place] = replace(answer, missing=missing)

    def _keep(self, person: Person, wish: Wish, seen: Seen) -> None:
        person.remember(seen)
        if wish.kind is Kind.RESCHEDULE and wish.appointment in person.appointments:
            old = person.appointments[wish.appointment]
            person.remember(replace(old, status="rescheduled"))

    # --- wishes

    def _wish(self, kind: Kind) -> tuple[Person, Wish] | None:
        makers = {
            Kind.SEARCH: self._search,
            Kind.BOOK: self._book,
            Kind.CANCEL: self._cancel,
            Kind.RESCHEDULE: self._move,
            Kind.READ: self._read,
            Kind.LIST: self._list,
            Kind.START: self._start_visit,
            Kind.PRESCRIBE: self._prescribe,
        }
        return makers[kind]()

    def _key(self) -> str:
        self._made += 1
        return f"{self._seed}-{self._made}-{self.random.getrandbits(64):016x}"

    def _idle(self, people: list[Person], *statuses: str) -> Person | None:
        found = [one for one in people if not one.is_busy and (not statuses or one.with_status(*statuses))]
        return self.random.choice(found) if found else None

    def _search(self) -> tuple[Person, Wish] | None:
        person = self._idle(self.population.patients)
        doctor = self.random.choice(self.population.doctors)
        query = {"doctor_id": doctor.id, "limit": 100}
        return (person, Wish(Kind.SEARCH, "GET", "/booking/slots/search", query=query)) if person else None

    def _book(self) -> tuple[Person, Wish] | None:
        person = self._idle(self.population.patients)
        slot = self.random.choice(self.population.slots[self.random.choice(self.population.doctors).id])
        path, body = "/booking/slots/book", {"slot_id": slot}
        return (person, Wish(Kind.BOOK, "POST", path, body, key=self._key(), slot=slot)) if person else None

    def _cancel(self) -> tuple[Person, Wish] | None:
        person = self._idle(self.population.patients, "booked")
        if person is None:
            return None
        about = self.random.choice(person.with_status("booked"))
        path = f"/booking/appointments/{about.id}/cancel"
        return person, Wish(Kind.CANCEL, "POST", path, key=self._key(), appointment=about.id)

    def _move(self) -> tuple[Person, Wish] | None:
        person = self._idle(self.population.patients, "booked")
        if person is None:
            return None
        about = self.random.choice(person.with_status("booked"))
        slot = self.random.choice([one for one in self.population.slots[about.doctor] if one != about.slot])
        path, body = f"/booking/appointments/{about.id}/reschedule", {"slot_id": slot}
        return person, Wish(Kind.RESCHEDULE, "POST", path, body, key=self._key(), slot=slot, appointment=about.id)

    def _read(self) -> tuple[Person, Wish] | None:
        person = self._idle(self.population.patients)
        if person is None or not person.appointments:
            return None
        return person, self._look(self.random.choice(list(person.appointments.values())))

    def _look(self, about: Seen) -> Wish:
        path = self.random.choice((f"/booking/appointments/{about.id}", f"/consultation/{about.id}"))
        return Wish(Kind.READ, "GET", path, slot=about.slot, appointment=about.id)

    def _list(self) -> tuple[Person, Wish] | None:
        person = self._idle(self.population.patients)
        return (person, Wish(Kind.LIST, "GET", "/booking/appointments", query={"limit": 100})) if person else None

    def _start_visit(self) -> tuple[Person, Wish] | None:
        doctor = self._idle(self.population.doctors)
        waiting = [
            seen
            for patient in self.population.patients
            for seen in patient.with_status("booked")
            if doctor is not None and seen.doctor == doctor.id and not patient.is_busy
        ]
        if doctor is None or not waiting:
            return None
        about = self.random.choice(waiting)
        path = f"/consultation/{about.id}/start"
        return doctor, Wish(Kind.START, "POST", path, key=self._key(), slot=about.slot, appointment=about.id)

    def _prescribe(self) -> tuple[Person, Wish] | None:
        doctor = self._idle(self.population.doctors, "in_progress")
        if doctor is None:
            return None
        about = self.random.choice(doctor.with_status("in_progress"))
        item = {"medicine": "Amlodipine", "dosage": "5 mg", "frequency": "once a day", "duration_days": 30}
        path, body = f"/consultation/{about.id}/prescription", {"items": [item]}
        return doctor, Wish(Kind.PRESCRIBE, "POST", path, body, key=self._key(), appointment=about.id)
