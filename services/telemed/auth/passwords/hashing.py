"""How passwords are hashed: bcrypt over a keyed pre-hash.

bcrypt reads 72 bytes and stops at a NUL; the pre-hash gives it 64 bytes of base64 for a password of any length. Its key
is not in the database, so a stolen database alone cannot be guessed against.
"""

import base64
import hashlib
import hmac
import secrets

import bcrypt

from telemed.kernel.keys import derived_key


class PasswordHashes:
    """Makes and compares hashes at the cost of this deployment. Slow on purpose: call it on a hashing thread."""

    def __init__(self, secret: bytes, *, cost: int) -> None:
        self._key = derived_key(secret, "password")
        self._cost = cost
        # A valid hash of the current cost: bcrypt answers in microseconds for one that it cannot read.
        self._nobodys = self.make(secrets.token_urlsafe())

    def make(self, password: str) -> str:
        """Hash a normalised password."""
        return bcrypt.hashpw(self._prehash(password), bcrypt.gensalt(self._cost)).decode()

    def matches(self, password: str, stored: str | None) -> bool:
        """Compare; takes the same time for nobody's hash (None) and for hashes of a lower cost than today's."""
        if stored is None or not is_bcrypt(stored):
            bcrypt.checkpw(self._prehash(password), self._nobodys.encode())
            return False
        matches = bcrypt.checkpw(self._prehash(password), stored.encode())
        for cost in range(cost_of(stored), self._cost):
            # 2^c + 2^c + 2^(c+1) + … + 2^(n-1) = 2^n: an account that has not logged in since the cost was raised
            # must not be told from one that does not exist by the clock.
            bcrypt.hashpw(self._prehash(password), bcrypt.gensalt(cost))
        return matches

    def is_outdated(self, stored: str) -> bool:
        """Tell whether the hash was made at a lower cost than today's."""
        return cost_of(stored) < self._cost

    def _prehash(self, password: str) -> bytes:
        return base64.b64encode(hmac.new(self._key, password.encode(), hashlib.sha384).digest())


def is_bcrypt(stored: str) -> bool:
    """Tell whether this is a hash that bcrypt can read."""
    return len(stored) == 60 and stored.startswith("$2b$") and stored[4:6].isdigit()


def cost_of(stored: str) -> int:
    """Give the cost of a hash, bcrypt's lowest for what is none."""
    return int(stored[4:6]) if is_bcrypt(stored) else 4
