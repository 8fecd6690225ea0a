"""Sends one attempt through the gateway and writes down what it was and what came of it."""

import time
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx
from tests.support.people import People, User
from tests.twin.history.model import TRANSIENT, Kind, Operation, Outcome, Seen, is_final

# What an attempt may be refused with, for good; anything else is not an answer that this load ever deserves.
EXPECTED = frozenset(
    {"slot-taken", "slot-booked", "patient-busy", "step-not-allowed", "not-found", "slot-started"}
    | {"prescription-limit-reached", "prescription-not-issued", "different-doctor"}
)
TOKEN = "X-Consistency-Token"
_STORED = ("Location", "Content-Type")  # the headers that a repeated answer repeats
# Never left this machine: surely nothing was done.
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_FRESH_SECONDS = 240.0  # how long a token is used before a new one is made; it lives 600 s


@dataclass
class Person:
    """A user with what their client remembers."""

    user: User
    is_busy: bool = False
    consistency: str | None = None
    token_at: float = 0.0
    # Own appointments that were acknowledged, with their slot and the state that the client knows.
    appointments: dict[str, Seen] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Give the user's id."""
        return self.user.id

    def remember(self, *seen: Seen) -> None:
        """Keep the state of appointments."""
        self.appointments |= {one.id: one for one in seen}

    def with_status(self, *statuses: str) -> list[Seen]:
        """Give the own appointments in one of these states, as far as the client knows."""
        return [one for one in self.appointments.values() if one.status in statuses]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants; repeated until it is settled it stays the same, key included."""

    kind: Kind
    method: str
    path: str
    body: dict[str, Any] | None = None
    query: dict[str, Any] | None = None
    key: str | None = None
    slot: str | None = None
    appointment: str | None = None

    @property
    def is_write(self) -> bool:
        """Tell whether it changes something."""
        return self.method != "GET"


@dataclass
class Watch:
    """The writes that were under way at one instant, and how many of them got no clean answer."""

    numbers: frozenset[int]
    hurt: int = 0


class Caller:
    """Turns wishes into recorded operations. *drops_token* takes the guard of own reads away."""

    def __init__(self, client: httpx.AsyncClient, people: People, *, drops_token: bool = False) -> None:
        self.history: list[Operation] = []
        self.in_flight: set[int] = set()  # numbers of writes that are waiting for an answer
        self.offences: list[str] = []  # answers that no fault excuses
        self._watches: list[Watch] = []
        # One client for all of them: with a jar, everybody would send everybody's consistency cookie.
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._client = client
        self._people = people
        self._drops_token = drops_token
        self._sent = 0

    def watch(self) -> Watch:
        """Note which writes are under way now: those that a fault of this instant can hit."""
        self._watches.append(Watch(frozenset(self.in_flight)))
        return self._watches[-1]

    async def attempt(self, person: Person, wish: Wish) -> tuple[Operation, httpx.Response | None]:
        """Send the wish once."""
        self._sent += 1
        number = self._sent
        if wish.is_write:
            self.in_flight.add(number)
        try:
            answer, reply = await self._attempt(person, wish)
        finally:
            self.in_flight.discard(number)
        if not is_final(answer):
            for watch in self._watches:
                watch.hurt += number in watch.numbers
        return answer, reply

    async def _attempt(self, person: Person, wish: Wish) -> tuple[Operation, httpx.Response | None]:
        begin = time.monotonic()
        try:
            reply = await self._send(person, wish)
        except _UNSENT:
            return self._record(person, wish, begin, Outcome.FAIL, refused="unavailable"), None
        except httpx.TransportError:
            return self._record(person, wish, begin, Outcome.UNKNOWN), None
        return self._judge(person, wish, begin, reply), reply

    async def _send(self, person: Person, wish: Wish) -> httpx.Response:
        if time.monotonic() - person.token_at > _FRESH_SECONDS:
            person.user.token, person.token_at = self._people.token(person.user), time.monotonic()
        headers = {"Authorization": f"Bearer {person.user.token}"}
        if wish.key is not None:
            headers["Idempotency-Key"] = wish.key
        if person.consistency is not None and not self._drops_token:
            headers[TOKEN] = person.consistency
        reply = await self._client.request(wish.method, wish.path, params=wish.query, json=wish.body, headers=headers)
        person.consistency = reply.headers.get(TOKEN, person.consistency)
        return reply

    def _judge(self, person: Person, wish: Wish, begin: float, reply: httpx.Response) -> Operation:
        if reply.is_success:
            return self._record(person, wish, begin, Outcome.OK, **_shown(wish, reply))
        slug = str(_json(reply).get("type", ""))
        if slug in TRANSIENT:
            return self._record(person, wish, begin, Outcome.FAIL, refused=slug)
        if slug in EXPECTED:
            stored = {"reply": _bytes(reply)}
            return self._record(person, wish, begin, Outcome.FAIL, refused=slug, **stored)
        # Of what the gateway says by itself nothing is believed.
        if reply.status_code not in {502, 503, 504}:
            self.offences.append(f"{reply.status_code} {slug} to {wish.method} {wish.path}")
        return self._record(person, wish, begin, Outcome.UNKNOWN)

    def _record(self, person: Person, wish: Wish, begin: float, outcome: Outcome, **more: Any) -> Operation:
        one = Operation(
            kind=wish.kind,
            client=person.id,
            begin=begin,
            end=time.monotonic(),
            outcome=outcome,
            key=wish.key,
            slot=wish.slot,
            appointment=wish.appointment,
            **more,
        )
        # A look that showed nothing says nothing.
        if wish.is_write or outcome is Outcome.OK or more.get("refused") in EXPECTED:
            self.history.append(one)
        return one


def _shown(wish: Wish, reply: httpx.Response) -> dict[str, Any]:
    body = _json(reply)
    stored = {"reply": _bytes(reply)} if wish.is_write else {}
    match wish.kind:
        case Kind.PUBLISH:
            return {"slots": tuple(item["id"] for item in body["items"])} | stored
        case Kind.LIST:
            return {"seen": tuple(map(_seen, body["items"]))}
        case Kind.SEARCH:
            return {"shown": frozenset(item["id"] for item in body["items"])}
        case Kind.PRESCRIBE:
            return {"prescription": body["id"]} | stored
        case Kind.WITHDRAW:
            return stored
    return {"seen": (_seen(body, slot=wish.slot),)} | stored


def _seen(item: dict[str, Any], *, slot: str | None = None) -> Seen:
    """Read an appointment; a consultation does not name its slot, which the client knows."""
    return Seen(
        id=item["id"],
        slot=item.get("slot_id") or slot or "",
        patient=item["patient_id"],
        doctor=item["doctor_id"],
        status=item["status"],
    )


def _bytes(reply: httpx.Response) -> bytes:
    head = [str(reply.status_code), *(reply.headers.get(name, "") for name in _STORED)]
    return "\n".join(head).encode() + b"\n" + reply.content


def _json(reply: httpx.Response) -> dict[str, Any]:
    try:
        body = reply.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
