"""Requests that come whether the ones before were answered or not, and what became of each."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx

Request = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


@asynccontextmanager
async def requests_at(url: str, per_second: float, kinds: list[Request], seed: int = 1) -> AsyncIterator[Counter[str]]:
    """Send requests of these kinds at random moments (Poisson) for as long as the context lasts; counts outcomes."""
    outcomes: Counter[str] = Counter()
    chance = random.Random(seed)  # noqa: S311 - not a secret
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
    async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as client, asyncio.TaskGroup() as group:

        async def send(kind: Request) -> None:
            try:
                reply = await kind(client)
            except httpx.HTTPError as error:
                outcomes[type(error).__name__] += 1
            else:
                outcomes["ok" if reply.is_success else f"{reply.status_code} {reply.text[:80]}"] += 1

        async def arrive() -> None:
            while True:
                await asyncio.sleep(chance.expovariate(per_second))
                group.create_task(send(chance.choice(kinds)))

        arriving = group.create_task(arrive())
        yield outcomes
        arriving.cancel()
