"""Keyed hashes of mails and addresses: a table can count them without saying whose they are.

A plain hash would not do: all IPv4 addresses and most mails can be tried in minutes.
"""

import hashlib
import hmac
from ipaddress import IPv6Address, ip_address

from telemed.kernel.keys import derived_key


class Fingerprints:
    """Makes the keyed hashes of one deployment."""

    def __init__(self, secret: bytes) -> None:
        self._key = derived_key(secret, "fingerprint")

    def of(self, kind: str, *parts: str | bytes) -> bytes:
        """Give 32 bytes for these parts; the same parts of another kind give others."""
        # Each part is hashed by itself first, so that ("ab", "c") and ("a", "bc") differ.
        digests = (hashlib.sha256(part.encode() if isinstance(part, str) else part).digest() for part in parts)
        return hmac.new(self._key, b"\x00".join([kind.encode(), b"".join(digests)]), hashlib.sha256).digest()

    def account(self, email: str) -> bytes:
        """Give the fingerprint of a normalised e-mail address, whether anybody has it or not."""
        return self.of("account", email)

    def address(self, client_address: str) -> bytes:
        """Give the fingerprint of the network that the client calls from."""
        return self.of("address", network_of(client_address))


def network_of(client_address: str) -> str:
    """Name the network that one subscriber controls: an IPv4 address, or the /64 of an IPv6 one.

    Whoever has an IPv6 address has all 2^64 of its prefix, and could call from a new one each time.
    """
    try:
        address = ip_address(client_address)
    except ValueError:
        return client_address
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"
