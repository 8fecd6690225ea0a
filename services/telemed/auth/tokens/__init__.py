"""Making tokens: access tokens, refresh tokens, the one gate that hands them out, and the public keys."""
