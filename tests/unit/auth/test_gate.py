"""The one gate through which tokens leave."""

import ast
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

import telemed
from telemed.auth.problems import InvalidRefreshToken
from telemed.auth.sessions.models import LoginSession
from telemed.auth.tokens.gate import TokenGate
from telemed.kernel.identity import TokenVerifier
from telemed.kernel.settings import Settings

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
SOURCES = Path(telemed.__file__).parent


@pytest.fixture
def gate() -> TokenGate:
    settings = Settings(_env_file=None, jwt_secret=SecretStr("only-for-tests-" + "0123456789" * 3))
    return TokenGate(settings, TokenVerifier(settings))


def session(*, expires_in: timedelta, revoked_at: datetime | None = None) -> LoginSession:
    return LoginSession(
        id=uuid4(), user_id=uuid4(), rotated_at=NOW, created_at=NOW, expires_at=NOW + expires_in, revoked_at=revoked_at
    )


def test_a_session_that_is_over_gets_nothing(gate: TokenGate) -> None:
    """Whoever asks, and whatever they checked before."""
    for over in (session(expires_in=timedelta(0)), session(expires_in=timedelta(days=1), revoked_at=NOW)):
        with pytest.raises(InvalidRefreshToken):
            gate.admit(over, now=NOW)


def test_an_access_token_does_not_outlive_its_session(gate: TokenGate) -> None:
    """The shorter of both lives counts."""
    assert gate.admit(session(expires_in=timedelta(days=1)), now=NOW).expires_in == timedelta(minutes=10)
    assert gate.admit(session(expires_in=timedelta(seconds=30)), now=NOW).expires_in == timedelta(seconds=30)


def test_nobody_signs_beside_the_gate() -> None:
    """`jwt.encode` is called in one module and the signer used in one: no path can go around what the gate forbids."""
    callers: dict[str, set[str]] = {"encode": set(), "AccessTokenSigner": set()}
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            match node.func:
                case ast.Attribute(value=ast.Name(id="jwt"), attr="encode"):
                    callers["encode"].add(path.relative_to(SOURCES).as_posix())
                case ast.Name(id="AccessTokenSigner"):
                    callers["AccessTokenSigner"].add(path.relative_to(SOURCES).as_posix())
    assert callers == {"encode": {"auth/tokens/access.py"}, "AccessTokenSigner": {"auth/tokens/gate.py"}}
