"""A lean generator of requests over keep-alive connections: closed (as fast as answers come) or paced (open).

Written for measuring: it knows HTTP/1.1 responses with a Content-Length and no others, and counts every status, so
that nobody takes a fast refusal for a fast answer.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import cast

from bench.results import BenchProblem, percentile

_CONNECT_WITHIN_SECONDS = 5.0


@dataclass
class Tally:
    """What came of a stretch of requests. Latencies in seconds, from when each request was meant to leave."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies: dict[int, list[float]] = field(default_factory=dict)  # by status
    seconds: float = 0.0
    without_retry_after: int = 0  # among refusals for want of room (503)
    last_body: bytes = b""

    @property
    def requests(self) -> int:
        """How many were answered."""
        return sum(self.statuses.values())

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds

    def p(self, hundredth: float, status: int = 200) -> float:
        """Give a percentile of the latencies of this status, in milliseconds."""
        return 1000 * percentile(self.latencies.get(status, []), hundredth)

    def require(self, *expected: int) -> "Tally":
        """Refuse to go on with answers that are not what is measured.

        Raises:
            BenchProblem: saying what came instead.
        """
        if not self.requests or set(self.statuses) - set(expected):
            raise BenchProblem(
                f"expected {expected}, got {dict(self.statuses)}; the last body: {self.last_body[:300]!r}"
            )
        return self

    def note(self, status: int, head: bytes, body: bytes, latency: float) -> None:
        """Count one answer."""
        self.statuses[status] += 1
        self.latencies.setdefault(status, []).append(latency)
        if status == 503 and b"\nretry-after:" not in head.lower():
            self.without_retry_after += 1
        self.last_body = body


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, done: Callable[["_Connection", int, bytes, bytes], None], lost: Callable[[], None]) -> None:
        self._done = done
        self._lost = lost
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None
        self.begun_at = 0.0
        self.is_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is one without saying so

    def send(self, request: bytes, begun_at: float) -> None:
        """Send; *begun_at* is when it was meant to leave."""
        assert self._transport is not None
        self.begun_at = begun_at
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, mark, rest = self._buffer.partition(b"\r\n\r\n")
        if not mark:
            return
        length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        self._done(self, int(head[9:12]), head, rest[:length])

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.is_closed:
            self._lost()

    def close(self) -> None:
        """End it on purpose."""
        self.is_closed = True
        if self._transport is not None:
            self._transport.close()


class _Run:
    """The state of one stretch."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.connections: list[_Connection] = []

    async def connect(self, port: int, count: int, done: Callable[[_Connection, int, bytes, bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_WITHIN_SECONDS):
            for _ in range(count):
                _, made = await loop.create_connection(lambda: _Connection(done, self.lost), "127.0.0.1", port)
                self.connections.append(made)

    def lost(self) -> None:
        if not self.ended.done():
            self.ended.set_exception(BenchProblem("the server closed a connection"))

    async def wait(self, within_seconds: float) -> None:
        try:
            async with asyncio.timeout(within_seconds):
                await self.ended
        except TimeoutError:
            raise BenchProblem(f"not all answers came within {within_seconds:.0f} s") from None
        finally:
            for connection in self.connections:
                connection.close()


async def closed(
    port: int, requests: Iterator[bytes], *, connections: int, seconds: float | None = None, patience: float = 120.0
) -> Tally:
    """Send one request after the other on each connection, until the time is up or there are no more."""
    run, under_way, begun = _Run(), 0, time.perf_counter()

    def go_on(connection: _Connection) -> None:
        nonlocal under_way
        now = time.perf_counter()
        request = next(requests, None) if seconds is None or now - begun < seconds else None
        if request is not None:
            under_way += 1
            connection.send(request, now)
        elif not under_way and not run.ended.done():
            run.ended.set_result(None)

    def done(connection: _Connection, status: int, head: bytes, body: bytes) -> None:
        nonlocal under_way
        under_way -= 1
        run.tally.note(status, head, body, time.perf_counter() - connection.begun_at)
        go_on(connection)

    await run.connect(port, connections, done)
    begun = time.perf_counter()
    for connection in run.connections:
        go_on(connection)
    await run.wait((seconds or 0) + patience)
    run.tally.seconds = time.perf_counter() - begun
    return run.tally


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Draw Poisson arrivals: instants, in seconds from the beginning."""
    random, at, drawn = Random(seed), 0.0, []  # noqa: S311 - arrivals, no secrets
    while (at := at + random.expovariate(rate)) < seconds:
        drawn.append(at)
    return drawn


async def paced(
    port: int, requests: Iterator[bytes], at: list[float], *, connections: int, patience: float = 30.0
) -> Tally:
    """Send a request at each of these instants, whether answers have come or not; latency counts from the instant.

    What finds no connection waits for one, and its latency tells.
    """
    run, idle, waiting = _Run(), deque[_Connection](), deque[tuple[bytes, float]]()
    left = len(at)

    def done(connection: _Connection, status: int, head: bytes, body: bytes) -> None:
        nonlocal left
        left -= 1
        run.tally.note(status, head, body, time.perf_counter() - connection.begun_at)
        if waiting:
            connection.send(*waiting.popleft())
        else:
            idle.append(connection)
        if not left and not run.ended.done():
            run.ended.set_result(None)

    await run.connect(port, connections, done)
    idle.extend(run.connections)
    begun = time.perf_counter()
    for instant in at:
        await _until(begun + instant)
        request = next(requests)
        if idle:
            idle.popleft().send(request, begun + instant)
        else:
            waiting.append((request, begun + instant))
    await run.wait(patience)
    run.tally.seconds = time.perf_counter() - begun
    return run.tally


async def _until(instant: float) -> None:
    """Wait with timers, which are up to a millisecond late, and the latency tells.

    To look at the clock until the instant has come would be exact, and take half of a core from Redis and PostgreSQL,
    which share it with us: answers came twice as late.
    """
    while (remains := instant - time.perf_counter()) > 0:  # noqa: ASYNC110 - it is the time that is waited for
        await asyncio.sleep(remains)


def get(path: str, headers: dict[str, str] | None = None) -> bytes:
    """Write a GET."""
    return _request("GET", path, headers or {}, b"")


def post(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """Write a POST of JSON."""
    return _request(
        "POST", path, {"Content-Type": "application/json", "Content-Length": str(len(body))} | (headers or {}), body
    )


def _request(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: bench.test", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
