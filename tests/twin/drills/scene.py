"""What a drill works with: the twin, the load that runs meanwhile, and chances from one seed."""

import asyncio
import contextlib
import os
import random
import re
import signal
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import asyncpg
import httpx
from tests.support.people import People
from tests.support.waiting import until
from tests.twin.drills.findings import Witness
from tests.twin.load.caller import Caller
from tests.twin.load.load import Load
from tests.twin.load.population import Population
from tests.twin.member import Member
from tests.twin.postgres import Node
from tests.twin.twin import Twin

_SAMPLE = re.compile(r"^(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$")


@dataclass
class Scene:
    """One drill as it runs."""

    twin: Twin
    load: Load
    caller: Caller
    people: People
    population: Population
    witness: Witness
    seed: int
    size: int | None = None  # how much of it; None for the drill's own measure
    is_long: bool = False  # a campaign: the faults last as long as they do in life
    measured: dict[str, float] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311 - to be repeated, not to be secret

    def lasts(self, *, short: float, long: float) -> float:
        """Give the seconds that a fault lasts: in the gate, in a campaign."""
        return long if self.is_long else short

    async def volley(self, count: int, *, under_way: int) -> None:
        """Let many book at once, and return while at least so many of these writes are under way."""
        self.load.volley(count)
        await until(lambda: len(self.caller.in_flight) >= under_way, within_seconds=5, pause_seconds=0.001)
        # Anywhere within the time that they take.
        await asyncio.sleep(self.random.uniform(0, 0.02))

    async def come_back(self, *members: Member, within_seconds: float = 60.0) -> None:
        """Wait until the supervisor has started what was killed, and it is ready."""
        await until(lambda: all(member.is_running for member in members), within_seconds=within_seconds)
        await asyncio.gather(*(member.ready(within_seconds) for member in members))

    @contextlib.asynccontextmanager
    async def commits_waiting(self, at_least: int, *, within_seconds: float = 3.0) -> AsyncIterator[list[int]]:
        """Let the primary send nothing to its replicas, so that commits gather on it; lets it go on at the end.

        Its senders are stopped, not the replicas: what is in a socket already would reach a replica that wakes up, even
        from a primary that is dead by then. Lends a list with the number of backends that wait for a replica to confirm
        their COMMIT. Without synchronous replication nobody ever waits: then it has what was acknowledged meanwhile and
        is on the primary alone.
        """
        async with self.twin.connect(self.twin.primary, "superuser") as connection:
            senders = [row["pid"] for row in await connection.fetch("SELECT pid FROM pg_stat_replication")]
            _signal(senders, signal.SIGSTOP)
            try:
                acked = len(self.caller.history)
                self.load.volley(4 * at_least)
                waiting = await _waiting(connection, at_least, within_seconds)
                yield [waiting or len(self.caller.history) - acked]
            finally:
                _signal(senders, signal.SIGCONT)

    async def metric(self, name: str, **labels: str) -> float:
        """Sum a metric over every process of the application that answers."""
        total = 0.0
        async with httpx.AsyncClient(timeout=2) as client:
            for member in self.twin.services:
                with contextlib.suppress(httpx.TransportError):
                    reply = await client.get(f"http://127.0.0.1:{member.probes}/metrics")
                    total += sum(_samples(reply.text, name, labels))
        return total

    async def until_failover(self, done: int, *, within_seconds: float = 60.0) -> None:
        """Wait until the warden has done one more than *done*."""
        await until(lambda: len(self.twin.failovers) > done, within_seconds=within_seconds)

    @property
    def promoted(self) -> bool:
        """Tell whether the last failover made another node the primary, instead of starting the old one again."""
        return bool(self.twin.failovers) and self.twin.failovers[-1].new != self.twin.failovers[-1].old

    async def wait(self, seconds: float) -> None:
        """Let the fault last."""
        await asyncio.sleep(seconds)

    def answered_since(self, instant: float, *, writes: bool | None = None) -> int:
        """Count who was served since then."""
        return sum(
            one.is_served and one.due >= instant and (writes is None or one.is_write is writes)
            for one in self.load.answers
        )

    def slowest_since(self, instant: float) -> float:
        """Give the p95 of all answers since then, in seconds."""
        took = sorted(one.took_seconds for one in self.load.answers if one.due >= instant)
        return took[int(0.95 * len(took))] if took else 0.0

    def require(self, holds: bool, complaint: str) -> None:
        """Note what a drill demands beyond the promises of all drills."""
        if not holds:
            self.complaints.append(complaint)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it died with its primary
            os.kill(pid, number)


async def _waiting(connection: asyncpg.Connection, at_least: int, within_seconds: float) -> int:
    """Wait until so many commits wait for a replica; gives how many do, perhaps fewer."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    deadline, waiting = time.monotonic() + within_seconds, 0
    while waiting < at_least and time.monotonic() < deadline:
        waiting = int(await connection.fetchval(query))
        await asyncio.sleep(0.002)
    return waiting


def _samples(text: str, name: str, labels: dict[str, str]) -> Iterable[float]:
    wanted = {f'{key}="{value}"' for key, value in labels.items()}
    for line in text.splitlines():
        found = _SAMPLE.match(line)
        if found and found["name"] == name and wanted <= set((found["labels"] or "").split(",")):
            yield float(found["value"])


def replica_of(scene: Scene) -> Node:
    """Choose a replica."""
    return scene.random.choice(scene.twin.replicas)
