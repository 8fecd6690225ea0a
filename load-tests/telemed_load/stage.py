"""One worker's part of the load, inside Locust's process: lets people come, sends what they ask for, writes it down."""

import gc
import random
import time
from collections.abc import Callable

import gevent
from gevent.event import Event
from gevent.queue import LifoQueue, Queue

from telemed_load.arrivals import Arrival
from telemed_load.board import Board
from telemed_load.journeys import STEPS, Answer, Ask, Turn, delayed, timeline
from telemed_load.measurements import Health, Measurements
from telemed_load.people import Account, Population
from telemed_load.profile import Stampede
from telemed_load.routes import ROUTES
from telemed_load.shapes import STAMPEDE, Schedule
from telemed_load.wire import Wire

SETTLE_SECONDS = 1.0  # for the hands to be there before the first arrival
DRAIN_SECONDS = 5.0  # beyond a request's own time-out, for those under way at the window's end
RENEW_SECONDS = 60.0  # before a token runs out
LOOK_SECONDS = 0.05  # how often the event loop is watched
Told = Callable[[str, str, float, int, str], None]  # of each request: method, name, seconds, bytes, failure


class Stage:
    """Everything that one worker does and has measured."""

    def __init__(self, schedule: Schedule, population: Population, url: str, worker: int, workers: int) -> None:
        self.measured = Measurements()
        self.told: Told = lambda *_: None
        self.over = Event()
        self._schedule, self._profile, self._mix = schedule, schedule.profile, schedule.mix
        self._url, self._worker, self._workers = url, worker, workers
        self._board = Board(population, violations=self.measured.violations)
        # Hands wait in a stack: those that were used last are warm, and no more connections are open than are needed.
        self._hands: LifoQueue[Queue[Arrival | None]] = LifoQueue()
        self._busy = 0
        self._health: list[Health] = []
        self._ends_early_at = float("inf")
        warm_up = self._profile.warm_up_seconds
        self.began = time.perf_counter() + SETTLE_SECONDS + warm_up

    # --- what Locust's process does with it

    def start(self) -> None:
        """Let people come."""
        self.measured.health = [self._health]
        # Collections of what lives as long as the run only make the loop late.
        gc.collect()
        gc.freeze()
        gevent.spawn(self._watch_itself)
        gevent.spawn(self._run)

    def be_a_hand(self) -> None:
        """Take one arrival after the other and go through its journey; returns when the load is over."""
        wire = Wire(self._url, self._profile.generator.request_timeout_seconds, self.began)
        mine: Queue[Arrival | None] = Queue()
        try:
            while not self.over.is_set():
                self._hands.put(mine)
                arrival = mine.get()
                if arrival is None:
                    return
                self._busy += 1
                try:
                    self._live(arrival, wire)
                except Exception as error:
                    # A journey that breaks is a fault of this program: the run must not pass for a measurement.
                    self.measured.ended = f"the generator broke: {type(error).__name__}: {error}"
                    raise
                finally:
                    self._busy -= 1
        finally:
            wire.close()

    # --- arrivals

    def _run(self) -> None:
        try:
            for arrival in self._schedule.arrivals(worker=self._worker, workers=self._workers):
                if arrival.at >= self._ends_early_at:
                    break
                self._wait_until(arrival.at)
                gevent.spawn(self._admit, arrival)
            self._wait_until(min(self._profile.seconds, self._ends_early_at))
            self._drain()
        except BaseException as error:
            self.measured.ended = f"the generator broke: {type(error).__name__}: {error}"
            raise
        finally:
            self.measured.acknowledged = {
                one.id: {"patient": one.patient.id, "slot": one.slot.id, "status": one.status}
                for one in self._board.appointments.values()
            }
            self.over.set()

    def _admit(self, arrival: Arrival) -> None:
        """Give the arrival to a free hand, or count it as dropped: never pass it over in silence."""
        patience = arrival.at + self._profile.generator.start_within_seconds - self.now()
        try:
            hand = self._hands.get(timeout=max(0.0, patience))
        except gevent.queue.Empty:
            self._dropped(arrival)
        else:
            hand.put(arrival)

    def _dropped(self, arrival: Arrival) -> None:
        if arrival.at >= 0:
            self.measured.counts["arrivals"] += 1
            self.measured.counts["dropped"] += 1
            self.measured.counts["planned_requests"] += len(self._plan(arrival, self._draw(arrival)))

    def _drain(self) -> None:
        """Wait for those who are here: each has its time-out, so this ends."""
        deadline = time.perf_counter() + self._profile.generator.request_timeout_seconds + DRAIN_SECONDS
        while self._busy and time.perf_counter() < deadline:
            gevent.sleep(0.05)
        self.measured.counts["unfinished"] += self._busy

    # --- one journey

    def _draw(self, arrival: Arrival) -> random.Random:
        seed = f"{self._profile.seed}/{self._worker}/{arrival.number}"
        return random.Random(seed)  # noqa: S311 - to be repeated, not to be secret

    def _plan(self, arrival: Arrival, draw: random.Random) -> list[tuple[float, str]]:
        """Draw the requests of the journey that are intended within the window, or before it."""
        if arrival.journey == STAMPEDE:
            return [(arrival.at, "book")]
        planned = timeline(self._mix.journeys[arrival.journey], self._mix, draw, arrival.at)
        return [(at, kind) for at, kind in planned if at < self._profile.seconds]

    def _live(self, arrival: Arrival, wire: Wire) -> None:
        counts = self.measured.counts
        turn, planned = self._set_out(arrival)
        while planned:
            (at, kind), *planned = planned
            if at >= min(self._profile.seconds, self._ends_early_at):
                return
            self._wait_until(at)
            ask = self._ask(turn, arrival, kind)
            if ask is None:
                counts[f"nothing to {kind}"] += at >= 0
                continue
            answer = wire.send(ask, ROUTES[kind].method)
            self._write_down(kind, at, answer)
            STEPS[kind].hear(turn, ask, answer)
            if answer.has_failed:
                # As people do who are told nothing, they leave. That is the platform's doing, not the generator's.
                counts["cut_short"] += self._planned_in_window(planned)
                return
            if turn.again:
                planned = self._with_steps_again(turn, planned, at)

    def _set_out(self, arrival: Arrival) -> tuple[Turn, list[tuple[float, str]]]:
        """Give somebody who comes, and what they intend."""
        counts, draw = self.measured.counts, self._draw(arrival)
        planned = self._plan(arrival, draw)
        turn = self._turn(arrival, draw, planned)
        if turn.who is not None and self._is_running_out(turn.who) and planned:
            # As a client does that looks at the clock; the mix's own refreshes are those of people who come back.
            planned.insert(0, (planned[0][0], "refresh"))
        counts["arrivals"] += arrival.at >= 0
        counts["planned_requests"] += self._planned_in_window(planned)
        return turn, planned

    def _with_steps_again(self, turn: Turn, planned: list[tuple[float, str]], at: float) -> list[tuple[float, str]]:
        """Let somebody make steps again that a request intended *at* a time has called for, before all others."""
        kinds, turn.again = turn.again, ()
        after = delayed(planned, kinds, self._mix, turn.draw, at)
        # Intended like any other, and what is put off beyond the window is not: the ratio that was sent stays true.
        self.measured.counts["planned_requests"] += self._planned_in_window(after) - self._planned_in_window(planned)
        return after

    def _planned_in_window(self, planned: list[tuple[float, str]]) -> int:
        return sum(0 <= at < self._profile.seconds for at, _ in planned)

    def _turn(self, arrival: Arrival, draw: random.Random, planned: list[tuple[float, str]]) -> Turn:
        board, kinds = self._board, frozenset(kind for _, kind in planned)
        who: Account | None = None
        appointment = None
        if "start" in kinds:
            appointment = board.next_visit(time.time())
            who = board.doctor(appointment.slot.doctor_id) if appointment else None
        elif "prescription" in kinds:
            appointment = board.prescribed(draw)
            who = appointment.patient if appointment else None
        if who is None and arrival.journey != STAMPEDE:
            people = board.people
            among = {"patient": people.patients, "doctor": people.doctors, "admin": people.admins, "nobody": []}
            who = board.somebody(among[self._mix.journeys[arrival.journey].who], draw)
        tries = self._mix.tries_to_book
        return Turn(board, self._mix, draw, arrival.number, time.time(), who, kinds, appointment, tries)

    def _ask(self, turn: Turn, arrival: Arrival, kind: str) -> Ask | None:
        if arrival.journey != STAMPEDE:
            return STEPS[kind].ask(turn)
        shape, people = self._profile.shape, self._board.people
        assert isinstance(shape, Stampede)
        slot = people.contested[int(arrival.at // shape.every_seconds)]
        patient = people.patients[arrival.number % len(people.patients)]
        body = {"slot_id": slot.id, "reason": "Load test"}
        return Ask("book", "/booking/slots/book", patient, body, turn.key(), slot)

    @staticmethod
    def _is_running_out(account: Account) -> bool:
        return account.refresh_token is not None and account.expires_at - time.time() < RENEW_SECONDS

    # --- writing down

    def _write_down(self, kind: str, intended: float, answer: Answer) -> None:
        route, measured = ROUTES[kind], self.measured
        latency = answer.done_at - intended
        said = f"no answer: {answer.failure}" if answer.status is None else str(answer.status)
        if answer.status is not None and answer.status >= 400:
            said = f"{answer.status} {answer.slug}".strip()
        self.told(route.method, kind, latency, len(answer.body), said if answer.has_failed else "")
        if intended < 0:
            return
        of_kind, second = measured.kind(kind), measured.second(intended)
        counted = None if answer.has_failed else latency
        of_kind.latency.add(counted)
        (second.reads if route.is_read else second.writes).add(counted)
        of_kind.statuses[said] += 1
        measured.counts["sent_requests"] += 1
        if answer.status is not None and answer.status < 500:
            of_kind.service.add(answer.done_at - answer.sent_at)
            if answer.status not in route.expected:
                measured.unexpected[f"{said} to {kind}"] += 1
        if kind == "book" and answer.status == 201:
            self.measured.counts["booked"] += 1
            self.measured.winners[str(answer.json().get("slot_id"))] += 1

    def _watch_itself(self) -> None:
        """Note each second how busy this process was, and how late it was at worst."""
        second = int(self.now()) - 1
        cpu, at, lag = time.process_time(), time.perf_counter(), 0.0
        while not self.over.is_set():
            due = time.perf_counter() + LOOK_SECONDS
            gevent.sleep(LOOK_SECONDS)
            now = time.perf_counter()
            lag = max(lag, now - due)
            if self.now() >= second + 1:
                used = time.process_time()
                if second >= 0:
                    self._health.append(Health(second, (used - cpu) / (now - at), lag))
                second, cpu, at, lag = int(self.now()), used, now, 0.0

    # --- time

    def now(self) -> float:
        """Give the seconds since the window began; negative before."""
        return time.perf_counter() - self.began

    def _wait_until(self, at: float) -> None:
        gevent.sleep(max(0.0, at - self.now()))

    def end_early(self, why: str) -> None:
        """Let nobody come any more."""
        self._ends_early_at = self.now()
        self.measured.ended = why
