"""Questions on one connection: everybody is given their own answers, or hears that nobody knows."""

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis.asyncio
from redis.exceptions import ResponseError
from tests.servers import own_valkey
from tests.support.proxy import proxy_to, through
from tests.support.waiting import until
from tests.twin.certificates import write_certificates

from telemed.kernel.cache.addresses import Endpoint, parse_address
from telemed.kernel.cache.connections import line_to_node
from telemed.kernel.cache.line import Line, LineLost, Wire

# What a server of a test does with each piece that a client sends; the number says on which connection.
Talk = Callable[[int, bytes, asyncio.StreamWriter], Awaitable[None]]


async def nothing(_wire: Wire) -> None:
    """Greet nobody."""


def line_to(port: int, patience_seconds: float = 5.0) -> Line:
    return Line(Endpoint("127.0.0.1", port), greet=nothing, patience_seconds=patience_seconds)


def line_of(url: str) -> Line:
    """The line that the cache has to such an address."""
    address = parse_address(url)
    return line_to_node(
        address,
        address.seeds[0],
        patience_seconds=2.0,
        on_identity=lambda _role, _data_id: None,
    )


@asynccontextmanager
async def server(talk: Talk) -> AsyncIterator[int]:
    """A server of the test's own; gives its port."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        number = len(writers)
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65536):
                await talk(number, piece, writer)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening, asyncio.timeout(10):  # whoever waits for ever shall not
        yield listening.sockets[0].getsockname()[1]
        for writer in writers:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def test_everybody_is_given_their_own_answers(redis_url: str) -> None:
    """Many at once, answers of a byte and of half a megabyte, and one in five leaves before theirs has come."""
    line, chance = line_of(redis_url), random.Random(5)  # noqa: S311 - not a secret

    async def ask(number: int) -> bool:
        words = [f"{number}:" + "x" * chance.choice([0, 1, 100, 5_000, 500_000]) for _ in range(chance.randint(1, 4))]
        return await line.ask(*(("ECHO", word) for word in words)) == [word.encode() for word in words]

    for _ in range(5):
        tasks = [asyncio.create_task(ask(number)) for number in range(100)]
        await asyncio.sleep(0.001 * chance.random())
        for task in tasks[::5]:
            task.cancel()
        stayed = [task for place, task in enumerate(tasks) if place % 5]
        assert await asyncio.gather(*stayed) == [True] * len(stayed)
    await line.close()


async def test_a_refusal_is_its_own_askers_only(redis_url: str) -> None:
    """Among others on the same connection, and the commands beside it are done."""
    line = line_of(redis_url)
    fine = [asyncio.create_task(line.ask(("ECHO", str(number)))) for number in range(10)]
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await line.ask(("DEL", "refused"), ("SET", "refused", "1"), ("SADD", "refused", "x"), ("SET", "refused", "2"))
    assert await asyncio.gather(*fine) == [[str(number).encode()] for number in range(10)]
    assert await line.ask(("GET", "refused")) == [b"2"]
    await line.close()


async def test_what_cannot_be_sent_is_nobody_elses_trouble(redis_url: str) -> None:
    """A question without an answer would shift those of all others."""
    line = line_of(redis_url)
    waiting = asyncio.create_task(line.ask(("ECHO", "before")))
    for command in (("SET", "key", "\ud800"), ("SET", "key", object())):
        with pytest.raises((UnicodeEncodeError, TypeError)):
            await line.ask(("PING",), command)  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        assert await waiting == [b"before"]
        assert await line.ask(("ECHO", "after")) == [b"after"]
    await line.close()


async def test_an_answer_that_nobody_asked_for_ends_the_connection() -> None:
    """Whatever comes after it belongs to nobody for certain."""

    async def say_too_much(number: int, _piece: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+for you\r\n+for whom\r\n" if number == 1 else b"+new\r\n")

    async with server(say_too_much) as port:
        line = line_to(port)
        assert await line.ask(("PING",)) == [b"for you"]
        assert await line.ask(("PING",)) == [b"new"]
        await line.close()


async def test_who_waits_on_a_connection_that_ends_hears_of_it() -> None:
    """All of them, at once; and whoever asks next is answered on a new one."""
    asked = asyncio.Event()

    async def hang_up_once(number: int, _piece: bytes, writer: asyncio.StreamWriter) -> None:
        if number > 1:
            writer.write(b"+new\r\n")
            return
        writer.write(b"$100\r\nhalf of it")
        await asked.wait()
        writer.transport.abort()

    async with server(hang_up_once) as port:
        line = line_to(port)
        tasks = [asyncio.create_task(line.ask(("PING",))) for _ in range(5)]
        await until(lambda: line._wire is not None and len(line._wire._waiting) == 5)
        asked.set()
        lost = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in lost] == [LineLost] * 5
        assert await line.ask(("PING",)) == [b"new"]
        await line.close()


async def test_a_silent_connection_is_left_to_those_who_wait_on_it() -> None:
    """New questions take a new one; the old one is closed when it has said what it was asked."""
    thawed = asyncio.Event()

    async def freeze_once(number: int, _piece: bytes, writer: asyncio.StreamWriter) -> None:
        if number == 1:
            await thawed.wait()
        writer.write(b"+from %d\r\n" % number)

    async with server(freeze_once) as port:
        line = line_to(port)
        patient = asyncio.create_task(line.ask(("PING",)))
        await until(lambda: line._wire is not None and line._wire.silent_for() > 0)
        assert line._wire is not None
        line._wire._heard_at -= 60  # it seems so long ago
        assert await line.ask(("PING",)) == [b"from 2"]
        assert len(line._open) == 2
        thawed.set()
        assert await patient == [b"from 1"]
        await until(lambda: len(line._open) == 1, within_seconds=2)
        await line.close()


async def test_a_connection_that_stays_silent_is_not_kept() -> None:
    """Though nobody ends it: a network that drops everything ends nothing."""

    async def freeze_once(number: int, _piece: bytes, writer: asyncio.StreamWriter) -> None:
        if number > 1:
            writer.write(b"+new\r\n")

    async with server(freeze_once) as port:
        line = line_to(port, patience_seconds=0.5)
        patient = asyncio.create_task(line.ask(("PING",)))
        await until(lambda: line._wire is not None and line._wire.silent_for() > 0.5)
        await line.ask(("PING",))
        with pytest.raises(LineLost):
            await patient
        assert len(line._open) == 1
        await line.close()


async def test_a_line_that_was_closed_stays_closed(redis_url: str) -> None:
    """Also one that was about to connect; nothing is left open."""
    line = line_of(redis_url)
    asking = asyncio.create_task(line.ask(("PING",)))
    await asyncio.sleep(0)
    await line.close()
    await asyncio.gather(asking, return_exceptions=True)
    with pytest.raises(LineLost):
        await line.ask(("PING",))
    assert not line._open


async def test_who_comes_says_who_they_are(redis_url: str) -> None:
    """By password or by name, and which database is meant; whoever may not is told so."""
    with own_valkey() as valkey:
        root = redis.asyncio.Redis.from_url(valkey.url)
        await root.acl_setuser("clinic", enabled=True, passwords=["+s3cret"], categories=["+@all"], keys=["*"])
        await root.acl_setuser("open", enabled=True, nopass=True, categories=["+@all"], keys=["*"])
        named = line_of(f"redis://clinic:s3cret@127.0.0.1:{valkey.port}/3")
        await named.ask(("SET", "mine", "1"))
        assert await named.ask(("ACL", "WHOAMI")) == [b"clinic"]
        assert await root.get("mine") is None
        without_password = line_of(f"redis://open@127.0.0.1:{valkey.port}/0")
        assert await without_password.ask(("ACL", "WHOAMI")) == [b"open"]
        await without_password.close()
        for wrong in (f"redis://:wrong@127.0.0.1:{valkey.port}/0", f"redis://127.0.0.1:{valkey.port}/0"):
            stranger = line_of(wrong)
            with pytest.raises(ResponseError):
                await stranger.ask(("GET", "mine"))
            await stranger.close()
        await named.close()
        await root.aclose()


async def test_over_tls_a_server_proves_who_it_is(tmp_path: Path) -> None:
    """A certificate of an authority that is known, made out to the host; or whatever the address asks for instead."""
    (certificate, authority), context = write_certificates(tmp_path, None), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with own_valkey() as valkey:
        async with proxy_to(valkey.port, context) as proxy:
            url = through(proxy, valkey.url).replace("redis://", "rediss://")
            elsewhere = url.replace("127.0.0.1", "127.1")  # the same place, but not what the certificate says
            for right in (
                f"{url}?ssl_ca_certs={authority}",
                f"{elsewhere}?ssl_ca_certs={authority}&ssl_check_hostname=false",
                f"{elsewhere}?ssl_cert_reqs=none",
            ):
                line = line_of(right)
                assert await line.ask(("ECHO", "x" * 100_000)) == [b"x" * 100_000]
                await line.close()
            for wrong, error in (
                (url, ssl.SSLError),
                (f"{elsewhere}?ssl_ca_certs={authority}", ssl.SSLError),
                (f"{url}?ssl_ca_certs={tmp_path / 'missing.pem'}", FileNotFoundError),
            ):
                line = line_of(wrong)
                with pytest.raises(error):
                    await line.ask(("PING",))
                await line.close()
