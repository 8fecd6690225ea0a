"""The way to single servers: who we are to them, and what is asked of each before it is believed."""

import ssl
from collections.abc import Callable, Mapping
from functools import partial

from redis.exceptions import ReadOnlyError, RedisError

from telemed.kernel.cache.addresses import Credentials, Endpoint, RedisAddress
from telemed.kernel.cache.line import Line, Wire, first_refusal

# Called with the role and the id of the data set of whoever answers on a new connection.
OnIdentity = Callable[[str, str], None]

_SAYS_NO = frozenset({"no", "false", "0"})


def line_to_node(
    address: RedisAddress, endpoint: Endpoint, *, patience_seconds: float, on_identity: OnIdentity
) -> Line:
    """Make the way to one server; nothing is connected before the first question.

    Each new connection asks who answers and tells *on_identity*, before anything else is said on it.
    """

    async def greet(wire: Wire) -> None:
        select = [("SELECT", address.database)] if address.database else []
        # At once: each question of its own costs a round trip within the bound.
        replies = await wire.ask(*_introduction(address.credentials), *select, ("INFO", "replication"))
        first_refusal(replies)
        on_identity(*identity_in(replies[-1]))

    return Line(endpoint, greet=greet, patience_seconds=patience_seconds, tls=partial(_tls, address))


def line_to_sentinel(address: RedisAddress, endpoint: Endpoint, *, patience_seconds: float) -> Line:
    """Make the way to one sentinel."""

    async def greet(wire: Wire) -> None:
        introduction = _introduction(address.sentinel_credentials)
        if introduction:
            first_refusal(await wire.ask(*introduction))

    return Line(endpoint, greet=greet, patience_seconds=patience_seconds, tls=partial(_tls, address))


def _introduction(credentials: Credentials) -> list[tuple[str, ...]]:
    if credentials.username is not None:
        return [("AUTH", credentials.username, credentials.password or "")]  # some users have no password
    return [("AUTH", credentials.password)] if credentials.password is not None else []


def _tls(address: RedisAddress) -> ssl.SSLContext | None:
    """Make what a rediss:// address asks for; without options, certificates must be valid and made out to the host."""
    if not address.is_tls:
        return None
    options = dict(address.tls_options)
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    verifies = options.get("ssl_cert_reqs", "required")
    context.check_hostname = verifies != "none" and options.get("ssl_check_hostname", "yes").lower() not in _SAYS_NO
    context.verify_mode = ssl.VerifyMode[f"CERT_{verifies.upper()}"]
    if "ssl_certfile" in options:
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    return context


def require_primary(role: str) -> None:
    """Refuse a replica.

    Raises:
        ReadOnlyError: it is one: a demoted primary, or the new one is not promoted yet.
    """
    if role != "master":
        raise ReadOnlyError(f"this server is a {role}")


def identity_in(reply: object) -> tuple[str, str]:
    """Give the role, and the id of the data set, out of the answer to INFO replication.

    The id (`master_replid`) is another after a restart that lost the data and after a promotion: the two events
    after which something that was acknowledged may be missing.

    Raises:
        RedisError: that is no such answer.
    """
    fields = _fields(reply)
    role, data_id = fields.get("role"), fields.get("master_replid")
    if role is None or data_id is None:
        raise RedisError("not an answer to INFO")
    return role, data_id


def _fields(reply: object) -> Mapping[str, str]:
    """Read the lines of an INFO."""
    if not isinstance(reply, bytes):
        raise RedisError("not an answer to INFO")
    pairs = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {name: value.strip() for name, separator, value in pairs if separator}
