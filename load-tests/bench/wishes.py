"""Things to book, made by number: for who books over HTTP and for pgbench, which can only count.

Wish number *n* is that of patient n for slot n of doctor n modulo DOCTORS, and every id can be computed from n.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
from tests.support.people import mint

from bench import wire
from bench.stage import Ground
from bench.statements import quoted

DOCTORS = 400
_SLOT = timedelta(minutes=30)
_CHUNK = 5_000
# In migrations' words nothing of ours is known: a schema of its own, in a database that is thrown away.
_SCHEMA = """
    CREATE SCHEMA IF NOT EXISTS bench;
    CREATE OR REPLACE FUNCTION bench.id(kind integer, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
        $$ SELECT ('0' || to_hex(26214400 + kind) || '-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
    GRANT USAGE ON SCHEMA bench TO PUBLIC;
"""
_DOCTOR, _PATIENT, _SESSION, _SLOT_KIND = 1, 2, 3, 4
_USERS = """
    INSERT INTO auth.users (id, email, full_name, role, password_hash, created_at)
    SELECT bench.id($1, n), $2 || n || '@wish.example.com', 'Wish ' || n, $2, 'nobody logs in with this', now()
    FROM generate_series($3::bigint, $4::bigint) AS n
"""
_SESSIONS = """
    INSERT INTO auth.sessions (id, user_id, rotated_at, created_at, expires_at)
    SELECT bench.id($1, n), bench.id($2, n), now(), now(), now() + interval '1 day'
    FROM generate_series($3::bigint, $4::bigint) AS n
"""
_DOCTORS = """
    INSERT INTO booking.doctors (id, full_name, specialization, languages, fee_minor, fee_currency, time_zone,
                                 registration_number, is_listed, listed_at, version)
    SELECT bench.id($1, n), 'Dr. Wish ' || n, 'Wishes', '{en}', 50000, 'INR', 'Asia/Kolkata', 'WISH', true, now(), 1
    FROM generate_series($2::bigint, $3::bigint) AS n
"""
_SLOTS = """
    INSERT INTO booking.slots (id, doctor_id, starts_at, ends_at, status, version)
    SELECT bench.id($1, n), bench.id($2, n % $5), $6::timestamptz + n / $5 * interval '30 minutes',
           $6::timestamptz + (n / $5 + 1) * interval '30 minutes', 'open', 1
    FROM generate_series($3::bigint, $4::bigint) AS n
"""
_BOOKED = """
    SELECT count(*) FROM generate_series($1::bigint, $2::bigint) AS n
    JOIN booking.slots AS s ON s.id = bench.id($3, n) AND s.status = 'booked'
    JOIN booking.appointments AS a ON a.slot_id = s.id AND a.patient_id = bench.id($4, n)
"""


@dataclass(frozen=True)
class Wish:
    """One patient's for one slot, with what pgbench writes in its place (`:n` is the number)."""

    number: int
    opens_at: datetime

    @property
    def slot_id(self) -> UUID:
        """The slot."""
        return _id(_SLOT_KIND, self.number)

    @property
    def patient_id(self) -> UUID:
        """Who wants it."""
        return _id(_PATIENT, self.number)

    @property
    def session_id(self) -> UUID:
        """Their session."""
        return _id(_SESSION, self.number)

    @property
    def key(self) -> str:
        """The idempotency key."""
        return f"wish-{self.number}"

    def expressions(self) -> dict[str, str]:
        """Give each value of this wish, as the server's log shows it, and how it follows from any number."""
        starts_at = self.opens_at + _SLOT * (self.number // DOCTORS)
        doctor_id = _id(_DOCTOR, self.number % DOCTORS)
        opens = f"timestamptz {quoted(_logged(self.opens_at))}"
        return {
            str(self.slot_id): f"bench.id({_SLOT_KIND}, :n)",
            str(self.patient_id): f"bench.id({_PATIENT}, :n)",
            str(self.session_id): f"bench.id({_SESSION}, :n)",
            str(doctor_id): f"bench.id({_DOCTOR}, :n % {DOCTORS})",
            self.key: "'wish-' || :n::text",
            _logged(starts_at): f"{opens} + :n / {DOCTORS} * interval '30 minutes'",
            _logged(starts_at + _SLOT): f"{opens} + (:n / {DOCTORS} + 1) * interval '30 minutes'",
        }


class Wishes:
    """The wishes of one database; each is used once."""

    def __init__(self, lent: Ground, connection: asyncpg.Connection, opens_at: datetime) -> None:
        self._lent = lent
        self._connection = connection
        self._opens_at = opens_at
        self._made = 0
        self._taken = 0

    @classmethod
    async def of(cls, lent: Ground) -> "Wishes":
        """Make the doctors."""
        connection = await asyncpg.connect(lent.database.owner)
        await connection.execute("SET statement_timeout = 0")
        await connection.execute(_SCHEMA)
        await connection.execute(_USERS, _DOCTOR, "doctor", 0, DOCTORS - 1)
        await connection.execute(_DOCTORS, _DOCTOR, 0, DOCTORS - 1)
        return cls(lent, connection, datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=2))

    async def take(self, count: int) -> list[Wish]:
        """Give wishes that nobody had."""
        while self._made < self._taken + count:
            first, last = self._made, self._made + _CHUNK - 1
            async with self._connection.transaction():
                await self._connection.execute(_USERS, _PATIENT, "patient", first, last)
                await self._connection.execute(_SESSIONS, _SESSION, _PATIENT, first, last)
                await self._connection.execute(_SLOTS, _SLOT_KIND, _DOCTOR, first, last, DOCTORS, self._opens_at)
            self._made = last + 1
        taken = [Wish(self._taken + place, self._opens_at) for place in range(count)]
        self._taken += count
        return taken

    async def settle(self) -> None:
        """Let the planner know what there is now, and write it to disk: not in the middle of a round."""
        for table in ("auth.users", "auth.sessions", "booking.slots", "booking.appointments"):
            await self._connection.execute(f"VACUUM (ANALYZE) {table}")
        superuser = await asyncpg.connect(self._lent.database.superuser)
        await superuser.execute("CHECKPOINT")
        await superuser.close()

    def requests(self, wishes: list[Wish], *, slot: Wish | None = None) -> Iterator[bytes]:
        """Write the bookings of these wishes; all of them of one *slot*, if it is given."""
        for wish in wishes:
            token = mint(self._lent.settings, str(wish.patient_id), str(wish.session_id), now=datetime.now(UTC))
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": wish.key}
            body = json.dumps({"slot_id": str((slot or wish).slot_id), "reason": "Itching since Monday"}).encode()
            yield wire.post("/booking/slots/book", body, headers)

    async def booked(self, wishes: list[Wish]) -> int:
        """Count those that came true; they are consecutive."""
        first, last = wishes[0].number, wishes[-1].number
        count: int = await self._connection.fetchval(_BOOKED, first, last, _SLOT_KIND, _PATIENT)
        return count

    async def close(self) -> None:
        """Let the connection go."""
        await self._connection.close()


def _id(kind: int, number: int) -> UUID:
    return UUID(f"{0x1900000 + kind:08x}-0000-7000-8000-{number:012x}")


def _logged(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M:%S+00")
