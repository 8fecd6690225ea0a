"""Keyed hashes of mails and addresses."""

import pytest

from telemed.auth.fingerprints import Fingerprints, network_of


@pytest.mark.parametrize(
    ("client_address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_an_address_stands_for_what_one_subscriber_has(client_address: str, network: str) -> None:
    """One IPv4 address, or a /64: otherwise 2^64 addresses would be one's to guess from."""
    assert network_of(client_address) == network


def test_fingerprints_are_keyed_and_kept_apart() -> None:
    """Another secret, another kind and another division of the parts give other hashes."""
    ours = Fingerprints(b"secret")
    assert ours.account("a@example.com") == ours.account("a@example.com")
    assert ours.account("a@example.com") != Fingerprints(b"another").account("a@example.com")
    assert ours.account("10.0.0.1") != ours.address("10.0.0.1")
    assert ours.of("x", "ab", "c") != ours.of("x", "a", "bc")
