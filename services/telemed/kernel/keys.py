"""One secret, many purposes: each derives its own key, so that none can be used in place of another."""

import hashlib
import hmac


def derived_key(secret: bytes, purpose: str) -> bytes:
    """Derive 32 bytes of key for *purpose* (for example ``refresh-token``) from the deployment's secret."""
    return hmac.new(secret, b"telemed/" + purpose.encode(), hashlib.sha256).digest()
