"""Clients of single servers, with bounds: a try costs tens of milliseconds and is never repeated behind our back."""

from collections.abc import Callable, Mapping
from typing import Any

import redis.asyncio
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.exceptions import ReadOnlyError, RedisError

from telemed.kernel.cache.addresses import Credentials, Endpoint, RedisAddress

# Called with the role and the id of the data set of whoever answers on a new connection.
OnIdentity = Callable[[str, str], None]

_CONNECTIONS_PER_NODE = 32


def connect_to_node(
    address: RedisAddress, endpoint: Endpoint, *, timeout_seconds: float, on_identity: OnIdentity
) -> "redis.asyncio.Redis":
    """Make a client of one server; nothing is connected before the first command.

    Each new connection asks who answers and tells *on_identity*, before anything else is said on it.
    """

    async def greet(connection: AbstractConnection) -> None:
        await connection.on_connect()
        await connection.send_command("INFO", "replication", check_health=False)
        reply = await connection.read_response()
        if not isinstance(reply, bytes | str):
            raise RedisError("not an answer to INFO")
        on_identity(*identity_in(info_fields(reply)))

    return _client(address, endpoint, address.credentials, timeout_seconds, db=address.database, greet=greet)


def connect_to_sentinel(address: RedisAddress, endpoint: Endpoint, *, timeout_seconds: float) -> "redis.asyncio.Redis":
    """Make a client of one sentinel."""
    return _client(address, endpoint, address.sentinel_credentials, timeout_seconds, db=0, greet=None)


def require_primary(role: str) -> None:
    """Refuse a replica.

    Raises:
        ReadOnlyError: it is one: a demoted primary, or the new one is not promoted yet.
    """
    if role != "master":
        raise ReadOnlyError(f"this server is a {role}")


def identity_in(fields: Mapping[str, object]) -> tuple[str, str]:
    """Give the role, and the id of the data set, out of INFO replication.

    The id (`master_replid`) is another after a restart that lost the data and after a promotion: the two events
    after which something that was acknowledged may be missing.

    Raises:
        RedisError: that is no such answer.
    """
    role, data_id = fields.get("role"), fields.get("master_replid")
    if not isinstance(role, str) or data_id is None:
        raise RedisError("not an answer to INFO")
    return role, str(data_id)


def info_fields(reply: bytes | str, **_options: object) -> dict[str, str]:
    """Read the lines of an INFO."""
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, separator, value in pairs if separator}


def _client(
    address: RedisAddress,
    endpoint: Endpoint,
    credentials: Credentials,
    timeout_seconds: float,
    *,
    db: int,
    greet: Callable[[AbstractConnection], object] | None,
) -> "redis.asyncio.Redis":
    options: dict[str, Any] = dict(address.tls_options) if address.is_tls else {}
    if "ssl_check_hostname" in options:
        options["ssl_check_hostname"] = options["ssl_check_hostname"] not in {"0", "false", "False", "no"}
    # Blocking: when all connections are busy callers wait for one, within the bound. The other kind of pool
    # raises at once, and a burst of readers would look like an outage.
    pool = redis.asyncio.BlockingConnectionPool(
        connection_class=SSLConnection if address.is_tls else Connection,
        host=endpoint.host,
        port=endpoint.port,
        db=db,
        username=credentials.username,
        password=credentials.password,
        max_connections=_CONNECTIONS_PER_NODE,
        timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=None,  # a retry would double the bound; the breaker decides when to ask again
        health_check_interval=0,
        # The older protocol without its greeting, and no introduction: each costs a round trip within the bound.
        protocol=2,
        driver_info=None,
        redis_connect_func=greet,
        **options,
    )
    client = redis.asyncio.Redis.from_pool(pool)
    # The library's own reading takes an id of the right digits for a number.
    client.set_response_callback("INFO", info_fields)  # type: ignore[arg-type]  # it gives more than a protocol says
    return client
