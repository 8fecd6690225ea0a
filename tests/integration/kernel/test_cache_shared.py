"""Commands that many have for Redis at the same time are one question; each asker gets the replies to theirs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.settings import NOW

from telemed.kernel.cache.addresses import parse_address
from telemed.kernel.cache.client import Cache, CacheUnavailable
from telemed.kernel.cache.line import Command, Line
from telemed.kernel.cache.shared import SharedQuestions
from telemed.kernel.clock import ManualClock
from telemed.kernel.telemetry.metrics import Metrics


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[Cache]:
    """One server, without a watch."""
    made = Cache(parse_address(redis_url), timeout_seconds=5.0, clock=ManualClock(NOW), metrics=Metrics())
    yield made
    await made.close()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Command, ...]]:
    """The questions that are asked."""
    sent: list[tuple[Command, ...]] = []
    ask = Line.ask

    async def ask_watched(line: Line, *commands: Command) -> list[Any]:
        sent.append(commands)
        return await ask(line, *commands)

    monkeypatch.setattr(Line, "ask", ask_watched)
    return sent


def written(number: int) -> list[Command]:
    """Write a value and read it."""
    return [("SET", f"shared:{number}", number), ("GET", f"shared:{number}")]


async def test_who_asks_at_the_same_time_shares_a_question(cache: Cache, sent: list[tuple[Command, ...]]) -> None:
    """However many commands each of them has."""
    questions = SharedQuestions(cache)
    alone = await questions.ask("shared:0", written(0), list)

    found = await asyncio.gather(
        *(questions.ask(f"shared:{number}", written(number), list) for number in (1, 2)),
        questions.ask("shared:1", [("GET", "shared:1")], list),
    )

    assert alone == [b"OK", b"0"]
    assert found == [[b"OK", b"1"], [b"OK", b"2"], [b"1"]]
    assert [len(commands) for commands in sent] == [2, 5]


@pytest.mark.parametrize(
    "commands", [pytest.param([("GET",)], id="refused"), pytest.param([("GET", "shared:0")], id="not to be read")]
)
async def test_nonsense_is_believed_by_nobody(cache: Cache, commands: list[Command]) -> None:
    """What one asker's replies cannot be read as says of the connection that replies may not be whose they seem."""
    questions = SharedQuestions(cache)

    def refuse(replies: list[Any]) -> object:
        raise TypeError(replies)

    answers = await asyncio.gather(
        questions.ask("shared:1", written(1), list),
        questions.ask("shared:0", commands, refuse),
        return_exceptions=True,
    )

    assert [type(answer) for answer in answers] == [CacheUnavailable] * 2
    assert cache.failed_at("shared:1") == NOW
    assert await questions.ask("shared:1", written(1), list) == [b"OK", b"1"]
