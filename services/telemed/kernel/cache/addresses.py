"""What REDIS_URL says: one setting, of which the scheme tells how Redis is run. Pure: nothing is connected here.

    redis://[user:password@]host:port/0                             one server
    redis+sentinel://[user:password@]host:port,host:port/service    a primary that sentinels know (26379 by default)
    redis+cluster://[user:password@]host:port,host:port             a cluster; the hosts are where to ask first

`rediss://`, `rediss+sentinel://` and `rediss+cluster://` are the same over TLS. Options follow a question mark.
"""

import re
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import parse_qsl, unquote

_DEFAULT_PORT = 6379
_DEFAULT_SENTINEL_PORT = 26379
_TLS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"})
_SENTINEL_OPTIONS = frozenset({"sentinel_username", "sentinel_password"})
_HOST = re.compile(r"\[(?P<ipv6>[0-9A-Fa-f:.]+)\](?::(?P<port6>\d+))?|(?P<name>[^\s:\[\]/?#@]+)(?::(?P<port>\d+))?")


class AddressProblem(ValueError):
    """The address cannot be understood; the message is a sentence without the password."""


class Mode(Enum):
    """How Redis is run."""

    STANDALONE = "standalone"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


_MODES = {
    "redis": (Mode.STANDALONE, False),
    "rediss": (Mode.STANDALONE, True),
    "redis+sentinel": (Mode.SENTINEL, False),
    "rediss+sentinel": (Mode.SENTINEL, True),
    "redis+cluster": (Mode.CLUSTER, False),
    "rediss+cluster": (Mode.CLUSTER, True),
}


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """Where one server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to a server; nobody without a password."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """REDIS_URL, understood. *seeds* are the server, the sentinels, or the nodes of a cluster to ask first."""

    mode: Mode
    seeds: tuple[Endpoint, ...]
    credentials: Credentials
    sentinel_credentials: Credentials
    is_tls: bool
    database: int = 0
    service: str = ""
    tls_options: tuple[tuple[str, str], ...] = ()


def parse_address(url: str) -> RedisAddress:
    """Understand an address.

    Raises:
        AddressProblem: it cannot be meant.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator or scheme.lower() not in _MODES:
        raise AddressProblem(f"must begin with one of {', '.join(f'{name}://' for name in _MODES)}{_given(url)}")
    mode, is_tls = _MODES[scheme.lower()]
    location, _, query = rest.partition("?")
    # Up to the last @: a password may hold one that nobody escaped.
    userinfo, _, location = location.rpartition("@")
    hosts, _, path = location.partition("/")
    credentials = _credentials(userinfo)
    options = _options(query, mode, url, is_tls=is_tls)
    return RedisAddress(
        mode=mode,
        seeds=_seeds(hosts, mode, url),
        credentials=credentials,
        sentinel_credentials=_sentinel_credentials(credentials, options),
        is_tls=is_tls,
        database=_database(path, options.get("db"), mode, url),
        service=_service(path, mode, url),
        tls_options=tuple((name, value) for name, value in options.items() if name in _TLS_OPTIONS),
    )


def masked(url: str) -> str:
    """Give the address without what is secret in it."""
    shown = re.sub(r"//([^:@]*:)?.*@", lambda found: f"//{found[1] or ''}***@", url, count=1, flags=re.DOTALL)
    return re.sub(r"(password=)[^&]*", r"\1***", shown)


def _given(url: str) -> str:
    return f", not {masked(url)!r}"


def _seeds(hosts: str, mode: Mode, url: str) -> tuple[Endpoint, ...]:
    default = _DEFAULT_SENTINEL_PORT if mode is Mode.SENTINEL else _DEFAULT_PORT
    seeds = tuple(_endpoint(host.strip(), default, url) for host in hosts.split(","))
    if mode is Mode.STANDALONE and len(seeds) > 1:
        raise AddressProblem(f"names several hosts, which needs redis+sentinel:// or redis+cluster://{_given(url)}")
    return seeds


def _endpoint(text: str, default_port: int, url: str) -> Endpoint:
    found = _HOST.fullmatch(text)
    if found is None:
        raise AddressProblem(f"must name hosts as host:port, separated by commas{_given(url)}")
    port = int(found["port"] or found["port6"] or default_port)
    if not 0 < port < 65_536:
        raise AddressProblem(f"has a port that does not exist, {port}{_given(url)}")
    return Endpoint(found["name"] or found["ipv6"], port)


def _credentials(userinfo: str) -> Credentials:
    username, _, password = userinfo.partition(":")
    return Credentials(unquote(username) or None, unquote(password) or None)


def _sentinel_credentials(credentials: Credentials, options: dict[str, str]) -> Credentials:
    # Sentinels usually have the password of the servers; `sentinel_password=` (empty) says that they have none.
    if _SENTINEL_OPTIONS.isdisjoint(options):
        return credentials
    return Credentials(options.get("sentinel_username") or None, options.get("sentinel_password") or None)


def _database(path: str, option: str | None, mode: Mode, url: str) -> int:
    text = option if option is not None else path if mode is not Mode.SENTINEL else ""
    if not text.strip("/"):
        return 0
    if not text.isdecimal():
        raise AddressProblem(f"must end with the number of a database{_given(url)}")
    if mode is Mode.CLUSTER and int(text) != 0:
        raise AddressProblem(f"must not choose a database: a cluster has only 0{_given(url)}")
    return int(text)


def _service(path: str, mode: Mode, url: str) -> str:
    if mode is not Mode.SENTINEL:
        return ""
    service = unquote(path.strip("/"))
    if not service or "/" in service:
        raise AddressProblem(f"must end with the name under which the sentinels know the primary{_given(url)}")
    return service


def _options(query: str, mode: Mode, url: str, *, is_tls: bool) -> dict[str, str]:
    allowed = {"db"} | (_SENTINEL_OPTIONS if mode is Mode.SENTINEL else set()) | (_TLS_OPTIONS if is_tls else set())
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in allowed:
            raise AddressProblem(f"has an option that is not known here, {name!r}{_given(url)}")
    if options.get("ssl_cert_reqs", "required") not in {"required", "optional", "none"}:
        raise AddressProblem(f"has an ssl_cert_reqs other than required, optional or none{_given(url)}")
    return options
