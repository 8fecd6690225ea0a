"""Everything that is stored: all rows of all tables, and all that is in the cache."""

import asyncpg
import redis.asyncio


async def rows_in(owner: asyncpg.Connection) -> dict[str, str]:
    """Give all values of every column of the platform's tables as text, by schema, table and column."""
    columns = await owner.fetch(
        """
        SELECT table_schema, table_name, column_name FROM information_schema.columns
        JOIN information_schema.tables USING (table_schema, table_name)
        WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')
        """
    )
    return {
        ".".join(column): "\n".join(
            row[0] or "" for row in await owner.fetch('SELECT "{2}"::text FROM "{0}"."{1}"'.format(*column))
        )
        for column in columns
    }


async def cached_in(url: str) -> dict[str, str]:
    """Give every key of the cache with its value as text, whatever its type."""
    client = redis.asyncio.Redis.from_url(url)
    readers = {b"string": client.get, b"set": client.smembers, b"hash": client.hgetall}
    found = {}
    async for key in client.scan_iter(count=1000):
        kind = await client.type(key)
        if kind in readers:
            found[key.decode()] = repr(await readers[kind](key))
        elif kind == b"list":
            found[key.decode()] = repr(await client.lrange(key, 0, -1))
        elif kind != b"none":  # it has ended meanwhile
            found[key.decode()] = repr(await client.dump(key))
    await client.aclose()
    return found
