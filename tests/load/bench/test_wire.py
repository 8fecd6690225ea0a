"""The generator: it counts every answer as what it is, and measures from when a request was meant to leave."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from bench import wire
from bench.results import BenchProblem

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
BUSY_FOR = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nbusy"
STALL = 0.2
REQUEST = wire.get("/")


@asynccontextmanager
async def stub(answers: Callable[[int], tuple[float, list[bytes]]]) -> AsyncIterator[int]:
    """Lend the port of a server that is told, for each request by number, how long to wait and what to send."""
    numbers = itertools.count()
    writers: list[asyncio.StreamWriter] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                seconds, parts = answers(next(numbers))
                await asyncio.sleep(seconds)
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                if not parts:
                    writer.close()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def test_every_request_is_sent_once_and_counted() -> None:
    """As many answers as requests, over fewer connections."""
    async with stub(lambda _: (0, [OK])) as port:
        tally = await wire.closed(port, itertools.repeat(REQUEST, 100), connections=7)

    assert tally.require(200).statuses == {200: 100}
    assert tally.rate == pytest.approx(100 / tally.seconds)


@pytest.mark.parametrize("cut", range(1, len(OK)))
def test_an_answer_in_pieces_is_one_answer(cut: int) -> None:
    """Head and body may come apart, anywhere."""
    seen: list[tuple[int, bytes]] = []
    connection = wire._Connection(lambda _, status, _head, body: seen.append((status, body)), lambda: None)

    connection.data_received(OK[:cut])
    assert seen == []
    connection.data_received(OK[cut:])
    connection.data_received(BUSY)

    assert seen == [(200, b"ok"), (503, b"busy")]


async def test_a_refusal_is_no_success() -> None:
    """One among a hundred fails the measurement, with what it said."""
    async with stub(lambda number: (0, [BUSY if number == 42 else OK])) as port:
        tally = await wire.closed(port, itertools.repeat(REQUEST, 100), connections=4)

    assert (tally.statuses, tally.without_retry_after) == ({200: 99, 503: 1}, 1)
    with pytest.raises(BenchProblem, match="503"):
        tally.require(200)


async def test_a_refusal_that_says_when_to_come_again_is_told_apart() -> None:
    """So that a storm can be judged by its refusals."""
    async with stub(lambda _: (0, [BUSY_FOR])) as port:
        tally = await wire.closed(port, itertools.repeat(REQUEST, 3), connections=1)

    assert (tally.statuses, tally.without_retry_after) == ({503: 3}, 0)


async def test_no_answer_at_all_is_no_success() -> None:
    """An empty tally passes nothing."""
    with pytest.raises(BenchProblem):
        wire.Tally().require(200)


async def test_a_closed_connection_ends_the_measurement() -> None:
    """It is not taken for a request that was never sent."""
    async with stub(lambda number: (0, [] if number == 3 else [OK])) as port:
        with pytest.raises(BenchProblem, match="closed a connection"):
            await wire.closed(port, itertools.repeat(REQUEST, 10), connections=1)


async def test_a_stall_is_felt_by_all_who_meant_to_come_in_it() -> None:
    """Whoever waits to send until an answer has come measures one slow request; here are as many as were meant."""
    at = [number * STALL / 20 for number in range(20)]
    async with stub(lambda number: (STALL if number == 0 else 0, [OK])) as port:
        tally = await wire.paced(port, itertools.repeat(REQUEST), at, connections=1)

    latencies = sorted(tally.require(200).latencies[200], reverse=True)
    # The nth of those who came during the stall waited for what was left of it.
    assert all(latency >= STALL - instant for latency, instant in zip(latencies, at, strict=True))


def test_arrivals_are_poisson_and_the_same_for_the_same_seed() -> None:
    """Bunches and gaps as in life, and two runs that can be compared."""
    drawn = wire.arrivals(rate=100, seconds=50, seed=1)

    gaps = [later - earlier for earlier, later in itertools.pairwise(drawn)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert drawn == wire.arrivals(rate=100, seconds=50, seed=1) != wire.arrivals(rate=100, seconds=50, seed=2)
    assert mean == pytest.approx(0.01, rel=0.1)
    assert deviation == pytest.approx(mean, rel=0.1)  # what makes it exponential, and not regular
