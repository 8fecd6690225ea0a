"""Search that finds nothing in the cache, at a million slots: against one prepared query in pgbench, and its tail."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from itertools import count
from urllib.parse import quote

from bench import wire
from bench.pgbench import Pgbench
from bench.results import Result
from bench.scene import Bench
from bench.statements import captured, quoted, script, without_calls
from dataset.plan import current_instant
from telemed.kernel.text import rfc3339

CLIENTS = 32  # as for bookings; of fewer, the process waits for its clients a fifth of the time
FLOOR_CLIENTS = 12  # as many as the process has connections; PostgreSQL answers no more of them, and less of 32
SPECIALIZATION = "Cardiology"
_SPAN = timedelta(days=30)
_MINUTES = int(_SPAN.total_seconds()) // 60
_HEAD = f"\\set n random(1, {_MINUTES})"
P99_BELOW_MS = 25.0


class Queries:
    """Searches of which no two are alike: each from another minute on, in an order that jumps about."""

    def __init__(self) -> None:
        self.opens_at = current_instant().replace(minute=0, second=0, microsecond=0) + timedelta(hours=2)
        self._numbers = count(1)

    def instant(self) -> datetime:
        """Give the next minute."""
        # 7919 divides no number of minutes here, so every one comes once before any comes again; then in seconds.
        rounds, place = divmod(next(self._numbers) * 7919, _MINUTES)
        return self.opens_at + timedelta(minutes=place, seconds=rounds // 7919)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self.request(self.instant())

    @staticmethod
    def request(instant: datetime) -> bytes:
        """Write one search."""
        return wire.get(f"/booking/slots/search?specialization={SPECIALIZATION}&from={quote(rfc3339(instant))}")


async def uncached_search(bench: Bench) -> list[Result]:
    """Measure the throughput, then the tail at half of it."""
    lent = await bench.big()
    queries = Queries()
    samples = await without_calls(lent, await captured(lent, _sender(queries)))
    text = await script(lent, samples, _HEAD, only=lambda text: "booking.slots" in text)
    process = await bench.serve(lent, "booking")
    assert process.port
    floors: list[float] = []
    values: list[float] = []
    try:
        await wire.closed(process.port, queries, connections=CLIENTS, seconds=1)
        floor = Pgbench(bench.up, lent.database.services, text)
        for _ in range(bench.size.rounds):
            floors.append(await floor.run(clients=FLOOR_CLIENTS, seconds=bench.size.seconds))
            tally = await wire.closed(process.port, queries, connections=CLIENTS, seconds=bench.size.seconds)
            values.append(tally.require(200).rate)
        tails = await _tails(bench, process.port, queries, rate=sorted(values)[len(values) // 2] / 2)
    finally:
        await lent.running.stop(process)
    return [
        Result(
            "uncached search", "one prepared query in pgbench, as the server logged it", "requests/s", "at least", 0.20,
            floors=tuple(floors), values=tuple(values),
            notes={"slots": bench.size.big, "clients": CLIENTS, "floor_clients": FLOOR_CLIENTS},
        ),
        Result(
            "uncached search, p99 at half load", "what is allowed", "ms", "at most", 1.0,
            floors=(P99_BELOW_MS,) * len(tails), values=tuple(tails),
            notes={"arrivals": "Poisson, latency from when a request was meant to leave", "slots": bench.size.big},
        ),
    ]  # fmt: skip


async def _tails(bench: Bench, port: int, queries: Queries, rate: float) -> list[float]:
    tails = []
    for seed in range(bench.size.rounds):
        at = wire.arrivals(rate, 2 * bench.size.seconds, seed)
        tails.append((await wire.paced(port, queries, at, connections=64)).require(200).p(99))
    return tails


def _sender(queries: Queries) -> Callable[[int], Awaitable[dict[str, str]]]:
    async def send(port: int) -> dict[str, str]:
        instant = queries.instant()
        (await wire.closed(port, iter([queries.request(instant)]), connections=1)).require(200)
        opens = quoted(f"{queries.opens_at:%Y-%m-%d %H:%M:%S}+00")
        # Asked is for what comes after the last instant before it, in a list of one.
        before = instant - timedelta(microseconds=1)
        any_other = f"timestamptz {opens} + :n * interval '1 minute' - interval '1 microsecond'"
        return {f'{{"{before:%Y-%m-%d %H:%M:%S.%f}+00"}}': f"ARRAY[{any_other}]"}

    return send
