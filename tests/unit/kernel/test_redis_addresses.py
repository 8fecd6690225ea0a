"""REDIS_URL: one setting says how Redis is run, and a wrong one is refused in a sentence without the password."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemed.kernel.cache.addresses import AddressProblem, Credentials, Endpoint, Mode, masked, parse_address

SECRET = "s3cret/?@:"
ESCAPED = "s3cret%2F%3F%40%3A"


def test_one_server() -> None:
    """As before: user, password, port and database; all of them but the host can be left out."""
    address = parse_address(f"redis://me:{ESCAPED}@cache.example:6380/3")

    assert (address.mode, address.is_tls, address.database) == (Mode.STANDALONE, False, 3)
    assert address.seeds == (Endpoint("cache.example", 6380),)
    assert address.credentials == Credentials("me", SECRET)
    assert parse_address("redis://cache").seeds == (Endpoint("cache", 6379),)
    assert parse_address("redis://cache/?db=2").database == 2
    assert parse_address("rediss://[::1]:7000/0?ssl_ca_certs=/ca.pem").tls_options == (("ssl_ca_certs", "/ca.pem"),)


def test_sentinels() -> None:
    """Several hosts, the name of the service, and credentials of the sentinels' own if they differ."""
    address = parse_address(f"redis+sentinel://:{ESCAPED}@s1,s2:26380/clinic?db=1")

    assert address.mode is Mode.SENTINEL
    assert address.seeds == (Endpoint("s1", 26379), Endpoint("s2", 26380))
    assert (address.service, address.database) == ("clinic", 1)
    assert address.credentials == address.sentinel_credentials == Credentials(None, SECRET)
    open_sentinels = parse_address("rediss+sentinel://:secret@s1/clinic?sentinel_password=")
    assert open_sentinels.is_tls
    assert open_sentinels.sentinel_credentials == Credentials()


def test_a_cluster() -> None:
    """Several hosts and no database."""
    address = parse_address("rediss+cluster://user:pass@c1:7001,c2:7002?ssl_check_hostname=false")

    assert (address.mode, address.is_tls) == (Mode.CLUSTER, True)
    assert address.seeds == (Endpoint("c1", 7001), Endpoint("c2", 7002))
    assert parse_address("redis+cluster://c1/0").seeds == (Endpoint("c1", 6379),)


@pytest.mark.parametrize(
    "url",
    [
        "cache:6379",
        "http://:secret@cache",
        "redis://",
        "redis://:secret@",
        "redis://:secret@h:0",
        "redis://:secret@h:70000",
        "redis://:secret@h:abc",
        "redis://:secret@h/x",
        "redis://:secret@a:1,b:2",
        "redis://:secret@h?socket_timeout=9",
        "redis://:secret@h?ssl_ca_certs=x",
        "redis+sentinel://:secret@h",
        "redis+sentinel://:secret@h/",
        "redis+sentinel://:secret@h/a/b",
        "redis+cluster://:secret@h/1",
        "redis+cluster://:secret@h:1,,g:2",
        "redis+cluster://:secret@h?sentinel_password=secret",
        "redis+sentinel://h/name?sentinel_password=secret&nonsense=1",
        "rediss://:secret@h?ssl_cert_reqs=perhaps",
    ],
)
def test_what_cannot_be_meant_is_refused(url: str) -> None:
    """With a sentence that shows the address without its password."""
    with pytest.raises(AddressProblem) as refusal:
        parse_address(url)

    assert "secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


@given(st.text(max_size=60), st.sampled_from(["redis://", "redis+cluster://", "redis+sentinel://", ""]))
def test_nothing_else_is_ever_raised(text: str, scheme: str) -> None:
    """Whatever somebody types."""
    with contextlib.suppress(AddressProblem):
        assert parse_address(scheme + text).seeds


@given(st.text(alphabet=st.characters(exclude_characters="="), min_size=4))
def test_the_password_is_never_shown(password: str) -> None:
    """Not even one with signs that ought to have been escaped."""
    assert masked(f"redis+cluster://user:{password}@host:1,other:2") == "redis+cluster://user:***@host:1,other:2"
