"""A running platform that synthetic people try, and what they leave behind in it."""

from dataclasses import dataclass

import asyncpg
import redis.asyncio
from tests.support.commands import Finished, telemed
from tests.support.platform import TelemedProcess

from telemed.kernel.settings import Settings

NAMES = ("auth", "booking", "consultation")


@dataclass(frozen=True)
class Scene:
    """A running platform, and the command with its addresses."""

    settings: Settings
    processes: dict[str, TelemedProcess]
    owner: asyncpg.Connection

    def arguments(self, **addresses: str) -> list[str]:
        """Write the command's options; keywords replace an address."""
        urls = {name: process.url for name, process in self.processes.items()} | addresses
        return [part for name, url in urls.items() for part in (f"--{name}", url)]

    async def smoke(self, *more: str, **addresses: str) -> Finished:
        """Run the command."""
        return await telemed(self.settings, "smoke", *self.arguments(**addresses), *more)

    async def left(self) -> dict[str, int]:
        """Count what a run has made and not taken back, past the code under test."""
        counts = {
            "appointments": "SELECT count(*) FROM booking.appointments WHERE status = 'booked'",
            "slots": "SELECT count(*) FROM booking.slots WHERE status IN ('open', 'booked')",
            "sessions": "SELECT count(*) FROM auth.sessions WHERE revoked_at IS NULL",
        }
        found = {what: await self.count(query) for what, query in counts.items()}
        return {what: count for what, count in found.items() if count}

    async def count(self, query: str) -> int:
        """Ask the database for a number."""
        return int(await self.owner.fetchval(query))

    async def forget(self) -> None:
        """End everything past the code: the next test finds nothing of this one."""
        await self.owner.execute("UPDATE booking.appointments SET status = 'cancelled' WHERE status = 'booked'")
        await self.owner.execute("UPDATE booking.slots SET status = 'withdrawn'")
        await self.owner.execute("UPDATE auth.sessions SET revoked_at = now() WHERE revoked_at IS NULL")
        await self.flush_cache()

    async def flush_cache(self) -> None:
        """Empty the cache, which is not told of what is done past the code."""
        cache = redis.asyncio.Redis.from_url(self.settings.redis_address)
        await cache.flushdb()
        await cache.aclose()
