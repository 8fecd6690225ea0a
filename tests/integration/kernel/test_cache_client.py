"""Redis behind a bound and a breaker: slow, silent, absent, or talking nonsense."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import pytest
from tests.servers import own_valkey
from tests.support.events import LoggedEvents
from tests.support.proxy import proxy_to, through
from tests.support.settings import NOW
from tests.support.waiting import until

from telemed.kernel.cache.addresses import parse_address
from telemed.kernel.cache.client import Cache, CacheUnavailable
from telemed.kernel.cache.line import Line
from telemed.kernel.clock import ManualClock
from telemed.kernel.telemetry.metrics import Metrics
from telemed.local.processes import free_port
from telemed.local.valkey import command

OpenCache = Callable[..., Awaitable[Cache]]


@pytest.fixture
async def open_cache() -> AsyncIterator[OpenCache]:
    async with AsyncExitStack() as stack:

        async def make(url: str, timeout_seconds: float = 0.2) -> Cache:
            cache = Cache(
                parse_address(url), timeout_seconds=timeout_seconds, clock=ManualClock(NOW), metrics=Metrics()
            )
            stack.push_async_callback(cache.close)
            return cache

        yield make


async def get(line: Line) -> object:
    (value,) = await line.ask(("GET", "key"))
    return value


async def ping(line: Line) -> object:
    (answer,) = await line.ask(("PING",))
    return answer


@asynccontextmanager
async def fake_server(answer: bytes) -> AsyncIterator[str]:
    """A server on a free port that says the same to everything."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


async def test_answers_while_redis_is_well(open_cache: OpenCache, redis_url: str) -> None:
    cache = await open_cache(redis_url, 5.0)

    async def write_and_read(line: Line) -> object:
        return await line.ask(("SET", "harness", b"value"), ("GET", "harness"))

    assert await cache.run("harness", write_and_read) == [b"OK", b"value"]


async def test_a_crowd_does_not_open_the_breaker(open_cache: OpenCache, redis_url: str, events: LoggedEvents) -> None:
    """More callers at once than there are connections wait their turn: that is no failure of Redis."""
    cache = await open_cache(redis_url, 5.0)
    await asyncio.gather(*(cache.run("key", get) for _ in range(500)))
    assert not events.named("cache.lost")


async def test_a_refused_connection_is_unavailable_at_once(open_cache: OpenCache) -> None:
    """Bookings must not feel it."""
    cache = await open_cache(f"redis://127.0.0.1:{free_port()}/0")
    started = time.monotonic()
    for _ in range(100):
        with pytest.raises(CacheUnavailable):
            await cache.run("key", get)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="another protocol"),
        pytest.param(b"\x00\xff" * 50, id="noise"),
        pytest.param(b"$5\r\nab", id="half an answer"),
        pytest.param(b"+" + b"x" * 100_000, id="endless line"),
        pytest.param(b"*99999999\r\n", id="endless list"),
        pytest.param(b"-ERR\r\n", id="error"),
    ],
)
async def test_nonsense_is_unavailable_within_the_bound(open_cache: OpenCache, answer: bytes) -> None:
    """Whatever answers at the address, callers go on without it, and soon without asking."""
    async with fake_server(answer) as url:
        cache = await open_cache(url)
        started = time.monotonic()
        for _ in range(20):
            with pytest.raises(CacheUnavailable):
                await cache.run("key", get)
        assert time.monotonic() - started < 3
        assert cache._nodes.all[0].breaker.is_open


async def test_a_frozen_redis_costs_its_bound_three_times_and_recovers(
    open_cache: OpenCache, events: LoggedEvents
) -> None:
    """A server that accepts and is silent is the worst kind; the breaker ends the waiting, and notices the thaw."""
    with own_valkey() as valkey:
        cache = await open_cache(valkey.url)

        async def answers() -> bool:
            try:
                return await cache.run("key", get) is None
            except CacheUnavailable:
                return False

        await until(answers)
        events.all.clear()
        valkey.running.process.send_signal(signal.SIGSTOP)
        started = time.monotonic()
        for _ in range(200):
            with pytest.raises(CacheUnavailable):
                await cache.run("key", get)
        assert time.monotonic() - started < 6  # without the breaker it would be forty
        assert len(events.named("cache.lost")) == 1
        assert cache.doubted_at("key") == NOW
        valkey.running.process.send_signal(signal.SIGCONT)
        await until(answers)
        assert events.named("cache.recovered")
        assert cache._nodes._metrics.breaker_open._value.get() == 0


async def test_a_cancelled_command_never_gives_its_answer_to_another(open_cache: OpenCache, redis_url: str) -> None:
    """A reply that nobody awaits any more is thrown away in its turn: somebody else would be given it."""
    cache = await open_cache(redis_url, 5.0)

    async def ask(number: int) -> bool:
        echoes = [("ECHO", f"{number} {place}") for place in range(3)]
        answers = await cache.run("key", lambda line: line.ask(*echoes))
        return answers == [f"{number} {place}".encode() for place in range(3)]

    for turn in range(30):
        tasks = [asyncio.create_task(ask(number)) for number in range(20)]
        for _ in range(turn % 7):
            await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {result for result in results if isinstance(result, bool)} <= {True}


async def test_a_caller_that_leaves_is_no_failure_of_redis(open_cache: OpenCache, redis_url: str) -> None:
    """Clients that hang up must not open the breaker for the others."""
    cache = await open_cache(redis_url, 5.0)
    for _ in range(10):
        task = asyncio.create_task(cache.run("key", get))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not cache._nodes.all[0].breaker.is_open


async def test_the_watch_ends_whenever_it_is_stopped(open_cache: OpenCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is to end does: also when the cancellation meets a timeout in the client library."""
    monkeypatch.setattr("telemed.kernel.cache.client._WATCH_SECONDS", 0)
    async with fake_server(b"$5\r\nab") as url:
        for turn in range(150):
            cache = await open_cache(url, 0.001)
            async with asyncio.timeout(10), cache.watched():
                await asyncio.sleep(0.0001 * (turn % 30))


async def test_another_server_behind_the_same_address_is_doubted_before_it_is_read(open_cache: OpenCache) -> None:
    """A promotion behind a name or a proxy: no command fails, and still nothing from before is trusted."""
    with own_valkey() as first, own_valkey() as second:
        command(second.port, second.password, "CONFIG", "SET", "requirepass", first.password)
        async with proxy_to(first.port) as proxy:
            clock = ManualClock(NOW)
            cache = Cache(parse_address(through(proxy, first.url)), timeout_seconds=5.0, clock=clock, metrics=Metrics())
            assert await cache.run("key", get) is None
            assert cache.failed_at("key") is None
            clock.advance(timedelta(seconds=5))
            proxy.server_port = second.port
            cache._nodes.all[0].line.hang_up()  # as idle connections end, unseen

            assert await cache.run("key", get) is None
            assert cache.doubted_at("key") == clock.now()
            await cache.close()


async def test_what_others_must_hear_of_is_given_more_time(open_cache: OpenCache, redis_url: str) -> None:
    """Also when questions have failed, as they do in a busy process: their bound is short, the server may be well."""
    cache = await open_cache(redis_url)

    async def slow(line: Line) -> object:
        await asyncio.sleep(0.4)  # as a busy server would; twice what a question may take
        return await ping(line)

    for _ in range(3):
        with pytest.raises(CacheUnavailable):
            await cache.run("a-key", slow)
    assert await cache.run("a-key", slow, urgent=True) == b"PONG"


async def test_a_server_that_was_given_more_time_in_vain_is_not_given_it_again(open_cache: OpenCache) -> None:
    """Or every write would wait for it, for as long as it is gone."""
    cache = await open_cache("redis://127.0.0.1:9/0")
    times: list[float] = []

    async def hangs(_line: Line) -> None:
        begun = time.monotonic()
        try:
            await asyncio.sleep(60)
        finally:
            times.append(time.monotonic() - begun)

    for _ in range(2):
        with pytest.raises(CacheUnavailable):
            await cache.run("a-key", hangs, urgent=True)
    patient, short = times[:3], times[3:]
    assert len(short) == 1
    assert short[0] < min(patient) / 2


async def test_what_others_must_hear_of_is_said_again(open_cache: OpenCache, redis_url: str) -> None:
    """After a pause of this process, in which every bound has passed; but not on and on to a server that is gone."""
    cache = await open_cache(redis_url)
    tries: list[bool] = []

    async def paused(line: Line) -> object:
        tries.append(len(tries) < 2)
        if tries[-1]:
            raise TimeoutError
        return await ping(line)

    assert await cache.run("a-key", paused, urgent=True) == b"PONG"
    tries.clear()
    with pytest.raises(CacheUnavailable):
        await cache.run("a-key", paused)
    assert len(tries) == 1
    gone = await open_cache("redis://127.0.0.1:9/0")
    for _ in range(3):
        with pytest.raises(CacheUnavailable):
            await gone.run("a-key", paused, urgent=True)
    assert len(tries) <= 1 + 3 + 2, "while the breaker is open once is enough"
