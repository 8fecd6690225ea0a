"""Ways to break a running platform: each is in force for as long as its context lasts."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
from observability.look.stack import Missing, Stack

Damage = Callable[[Stack], AbstractAsyncContextManager[None]]

THAW = Path(__file__).parent / "thaw.py"
_CROWD_PER_SECOND = 40
_NO_OVERLAP = "appointments_doctor_no_overlap"


def injected(fault: str) -> Damage:
    """Put a fault into the processes that answer requests (faults/sitecustomize.py)."""

    @contextlib.asynccontextmanager
    async def begin(stack: Stack) -> AsyncIterator[None]:
        stack.inject(fault)
        try:
            yield
        finally:
            stack.inject("")

    return begin


def frozen(part: str) -> Damage:
    """Stop a part without ending it: it accepts connections, and never answers."""

    @contextlib.asynccontextmanager
    async def begin(stack: Stack) -> AsyncIterator[None]:
        family = _family(stack.pid(part))
        thaw = await asyncio.create_subprocess_exec(
            sys.executable, "-I", THAW, *(str(one) for one in family), stdin=subprocess.PIPE, start_new_session=True
        )
        for one in family:
            os.kill(one, signal.SIGSTOP)
        try:
            yield
        finally:
            if thaw.stdin is not None:
                thaw.stdin.close()
            await thaw.wait()

    return begin


def killed(pod: str) -> Damage:
    """End a process without a word; it is started again afterwards."""

    @contextlib.asynccontextmanager
    async def begin(stack: Stack) -> AsyncIterator[None]:
        await stack.kill(pod)
        try:
            yield
        finally:
            await asyncio.to_thread(stack.start, pod, "/readyz")

    return begin


def taken_away(job: str, pod: str) -> Damage:
    """End a process, and let Prometheus find it no more, as when a Deployment is scaled to nothing."""

    @contextlib.asynccontextmanager
    async def begin(stack: Stack) -> AsyncIterator[None]:
        stack.show(job, without=pod)
        try:
            async with killed(pod)(stack):
                yield
        finally:
            stack.show(job)

    return begin


def held(statement: str) -> Damage:
    """Leave a transaction open after this statement, as a migration that waits for something else: its locks stay."""

    @contextlib.asynccontextmanager
    async def begin(stack: Stack) -> AsyncIterator[None]:
        connection = await stack.superuser()
        try:
            await connection.execute("SET idle_in_transaction_session_timeout = 0")
            async with connection.transaction():
                await connection.execute(statement)
                yield
        finally:
            await connection.close()

    return begin


@contextlib.asynccontextmanager
async def read_only(stack: Stack) -> AsyncIterator[None]:
    """Let the primary refuse writes, as providers do when its disk is full."""
    connection = await stack.superuser()
    try:
        await connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await connection.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            await connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
            await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def logins_flooded(stack: Stack) -> AsyncIterator[None]:
    """Let a crowd log in, several times as many as there are cores for their passwords."""

    async def crowd() -> None:
        async with httpx.AsyncClient(timeout=20) as client, asyncio.TaskGroup() as group:
            while True:
                group.create_task(one(client))
                await asyncio.sleep(1 / _CROWD_PER_SECOND)

    async def one(client: httpx.AsyncClient) -> None:
        with contextlib.suppress(httpx.TransportError):
            body = {"email": f"{uuid.uuid4()}@example.com", "password": "of nobody in particular"}
            await client.post(f"{random.choice(stack.apis())}/auth/login", json=body)

    task = asyncio.create_task(crowd())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def double_booked(stack: Stack) -> AsyncIterator[None]:
    """Give somebody's appointment to somebody else as well, past both walls, as a superuser who dropped one."""
    connection = await stack.superuser()
    try:
        wall = await connection.fetchval(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = $1", _NO_OVERLAP
        )
        await connection.execute(f"ALTER TABLE booking.appointments DROP CONSTRAINT {_NO_OVERLAP}")
        # Of an instant so long ago that nobody asks for its record and its event: only this one rule is to be broken.
        forged = await connection.fetchval(
            "INSERT INTO booking.appointments (id, slot_id, doctor_id, patient_id, status, starts_at, ends_at,"
            " created_at, version) SELECT gen_random_uuid(), slot_id, doctor_id, gen_random_uuid(), status, starts_at,"
            " ends_at, created_at - interval '40 days', version FROM booking.appointments"
            " WHERE status = 'booked' AND starts_at > now() + interval '1 hour' ORDER BY created_at LIMIT 1"
            " RETURNING id"
        )
        if forged is None:
            raise Missing("Nobody has an appointment ahead that could be booked twice.")
        try:
            yield
        finally:
            await connection.execute("DELETE FROM booking.appointments WHERE id = $1", forged)
            await connection.execute(f"ALTER TABLE booking.appointments ADD CONSTRAINT {_NO_OVERLAP} {wall}")
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def audit_altered(stack: Stack) -> AsyncIterator[None]:
    """Let somebody else have done what an old record says, as a superuser past the trigger that forbids it."""
    connection = await stack.superuser()
    alter = "UPDATE audit.records SET actor_id = $2 WHERE id = $1"
    try:
        record = await connection.fetchrow(
            "SELECT id, actor_id, gen_random_uuid() AS other FROM audit.records ORDER BY id LIMIT 1"
        )
        if record is None:
            raise Missing("There is no audit record that could be altered.")
        await connection.execute(alter, record["id"], record["other"])
        try:
            yield
        finally:
            await connection.execute(alter, record["id"], record["actor_id"])
    finally:
        await connection.close()


def _family(pid: int) -> list[int]:
    """Give a process and its children; PostgreSQL's are in sessions of their own."""
    said = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [pid, *(int(child) for child in said.stdout.split())]
