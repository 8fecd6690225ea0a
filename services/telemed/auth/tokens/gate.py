"""The one gate: every path that gives somebody tokens passes here, and whatever forbids that stands here.

Only this module makes an `AccessTokenSigner` (tests/unit/auth/test_gate.py holds it to that).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from telemed.auth.problems import InvalidRefreshToken
from telemed.auth.sessions.models import LoginSession
from telemed.auth.tokens.access import AccessTokenSigner
from telemed.auth.tokens.refresh import RefreshTokens
from telemed.kernel.identity import TokenVerifier
from telemed.kernel.settings import Settings, SettingsProblem


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a login or a refresh gives."""

    access_token: str
    refresh_token: str
    expires_in: timedelta


class TokenGate:
    """Gives tokens to standing sessions."""

    def __init__(self, settings: Settings, verifier: TokenVerifier) -> None:
        self._signer = AccessTokenSigner(settings)
        self._lifetime = settings.access_token_lifetime
        self.refresh_tokens = RefreshTokens(settings.secret)
        if self._signer.key_id not in verifier.keys:
            # Without this, every login would succeed and every request after it fail.
            raise SettingsProblem("JWT_PUBLIC_KEY_FILES: must hold the public key of JWT_PRIVATE_KEY_FILE.")

    def admit(self, session: LoginSession, *, now: datetime) -> TokenPair:
        """Give the session's current tokens. The access token does not outlive the session.

        Raises:
            InvalidRefreshToken: the session is over.
        """
        if session.revoked_at is not None or session.expires_at <= now:
            raise InvalidRefreshToken
        expires_at = min(now + self._lifetime, session.expires_at)
        return TokenPair(
            access_token=self._signer.sign(
                user_id=session.user_id, session_id=session.id, issued_at=now, expires_at=expires_at
            ),
            refresh_token=self.refresh_tokens.make(session.id, session.generation),
            expires_in=expires_at - now,
        )
