"""Access tokens that are not quite right, under both algorithms."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import SecretStr
from tests.integration.auth.conftest import Account
from tests.support.databases import TestDatabase
from tests.support.people import Caller
from tests.support.settings import JWT_SECRET, make_settings

from telemed.auth.tokens.key_files import KeyFiles, write_key_pair
from telemed.kernel.clock import ManualClock
from telemed.kernel.identity import key_id, public_key_id
from telemed.kernel.keys import derived_key
from telemed.kernel.settings import Settings

SECRET_KEY_ID = key_id(derived_key(JWT_SECRET.encode(), "kid"))


@pytest.fixture
def keys(tmp_path: Path) -> list[KeyFiles]:
    """The key that signs, and the next one, which verifiers know already."""
    return [write_key_pair(tmp_path / "keys") for _ in range(2)]


@pytest.fixture(params=["HS256", "EdDSA"])
def algorithm(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def settings(database: TestDatabase, redis_url: str, algorithm: str, keys: list[KeyFiles]) -> Settings:
    if algorithm == "HS256":
        return make_settings(database, redis_url)
    return make_settings(
        database,
        redis_url,
        jwt_algorithm="EdDSA",
        jwt_secret=None,
        pepper=SecretStr("only-for-tests"),
        jwt_private_key_file=keys[0].private,
        jwt_public_key_files=[pair.public for pair in keys],
    )


@pytest.fixture
def signing_key(algorithm: str, keys: list[KeyFiles]) -> Any:
    if algorithm == "HS256":
        return JWT_SECRET.encode()
    return serialization.load_pem_private_key(keys[0].private.read_bytes(), password=None)


async def status(home: Caller, token: str) -> int:
    reply = await Caller(home.client, token).get("/auth/me")
    assert reply.status_code in {200, 401}, reply.text
    return reply.status_code


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_a_token_of_ours_is_accepted(home: Caller, tokens: dict[str, Any], algorithm: str) -> None:
    """The one that login gave, as the control of everything below."""
    header, _ = parts(tokens["access_token"])
    assert header["alg"] == algorithm
    assert await status(home, tokens["access_token"]) == 200


CLAIMS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "another audience": lambda claims: claims | {"aud": "another-api"},
    "another issuer": lambda claims: claims | {"iss": "https://somebody.example"},
    "expired": lambda claims: claims | {"exp": claims["iat"] - 1},
    "no expiry": lambda claims: {k: v for k, v in claims.items() if k != "exp"},
    "no subject": lambda claims: {k: v for k, v in claims.items() if k != "sub"},
    "no session": lambda claims: {k: v for k, v in claims.items() if k != "sid"},
    "no id": lambda claims: {k: v for k, v in claims.items() if k != "jti"},
    "no issuer": lambda claims: {k: v for k, v in claims.items() if k != "iss"},
    "no audience": lambda claims: {k: v for k, v in claims.items() if k != "aud"},
    "subject of another form": lambda claims: claims | {"sub": "admin"},
    "session of another form": lambda claims: claims | {"sid": 7},
    "expiry of another form": lambda claims: claims | {"exp": "tomorrow"},
    "endless expiry": lambda claims: claims | {"exp": 10**30},
    "somebody who does not exist": lambda claims: claims | {"sub": "0198f3c2-7a10-7c3e-9a54-3f1c5b7d2e90"},
}


@pytest.mark.parametrize("change", CLAIMS)
async def test_a_token_with_other_claims_is_refused(
    home: Caller, tokens: dict[str, Any], signing_key: Any, algorithm: str, change: str
) -> None:
    """Though it is signed with the right key."""
    header, claims = parts(tokens["access_token"])
    unchanged = jwt.encode(claims, signing_key, algorithm=algorithm, headers=header)
    assert await status(home, unchanged) == 200
    changed = jwt.encode(CLAIMS[change](claims), signing_key, algorithm=algorithm, headers=header)
    assert await status(home, changed) == 401


@pytest.mark.parametrize(
    "change",
    [{"typ": "JWT"}, {"typ": None}, {"kid": None}, {"kid": "0" * 16}, {"kid": "../../etc/passwd"}, {"crit": ["b64"]}],
)
async def test_a_token_with_another_header_is_refused(
    home: Caller, tokens: dict[str, Any], signing_key: Any, algorithm: str, change: dict[str, Any]
) -> None:
    """A token of another kind, of no key, of an unknown key, or with an extension that we do not know."""
    header, claims = parts(tokens["access_token"])
    changed = {name: value for name, value in (header | change).items() if value is not None or name == "typ"}
    assert await status(home, jwt.encode(claims, signing_key, algorithm=algorithm, headers=changed)) == 401


async def test_a_token_without_a_signature_is_refused(home: Caller, tokens: dict[str, Any]) -> None:
    """`none` in any spelling, and a signature cut off."""
    header, claims = parts(tokens["access_token"])
    for spelling in ("none", "None", "NONE", ""):
        assert await status(home, f"{encoded(header | {'alg': spelling})}.{encoded(claims)}.") == 401
    assert await status(home, tokens["access_token"].rpartition(".")[0] + ".") == 401


async def test_a_token_signed_with_a_public_key_is_refused(
    home: Caller, tokens: dict[str, Any], keys: list[KeyFiles]
) -> None:
    """What everybody may read is no secret to sign with, in any form of it."""
    header, claims = parts(tokens["access_token"])
    public = serialization.load_pem_public_key(keys[0].public.read_bytes())
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    content = f"{encoded(header | {'alg': 'HS256'})}.{encoded(claims)}"
    for secret in (keys[0].public.read_bytes(), keys[0].public.read_bytes().strip(), raw):
        signature = base64.urlsafe_b64encode(hmac.new(secret, content.encode(), hashlib.sha256).digest())
        assert await status(home, f"{content}.{signature.rstrip(b'=').decode()}") == 401


async def test_a_token_of_another_key_is_refused(home: Caller, tokens: dict[str, Any], algorithm: str) -> None:
    """Whatever key id it carries, and also when it brings its key along."""
    header, claims = parts(tokens["access_token"])
    other = Ed25519PrivateKey.generate()
    brought = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    for kid in (header["kid"], public_key_id(other.public_key()), SECRET_KEY_ID):
        changed = header | {"kid": kid, "jwk": brought, "jku": "https://somebody.example/jwks.json"}
        del changed["alg"]  # PyJWT writes the one that it signs with
        assert await status(home, jwt.encode(claims, other, algorithm="EdDSA", headers=changed)) == 401
        secret = "another secret of sufficient length!!"
        assert await status(home, jwt.encode(claims, secret, algorithm="HS256", headers=changed)) == 401


@pytest.mark.parametrize("nonsense", ["", "x", "a.b.c", "....", "é" * 10, "A" * 100_000, "e30.e30.e30", "null"])
async def test_nonsense_is_refused(home: Caller, nonsense: str) -> None:
    """With a problem, and never an error of ours."""
    reply = await home.client.get("/auth/me", headers=[(b"authorization", b"Bearer " + nonsense.encode())])
    assert (reply.status_code, reply.json()["type"]) == (401, "not-authenticated")
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")


async def test_two_authorization_headers_are_refused(home: Caller, tokens: dict[str, Any]) -> None:
    """Which of them counts must not be a matter of taste."""
    header = ("Authorization", f"Bearer {tokens['access_token']}")
    for path in ("/auth/me", "/auth/logout"):
        method = "GET" if path == "/auth/me" else "POST"
        reply: httpx.Response = await home.client.request(method, path, headers=[header, header])
        assert reply.status_code == 401
    assert await status(home, tokens["access_token"]) == 200


async def test_a_token_that_was_accepted_expires_all_the_same(
    home: Caller, tokens: dict[str, Any], clock: ManualClock
) -> None:
    """Remembering its signature does not prolong it."""
    assert await status(home, tokens["access_token"]) == 200
    clock.advance(timedelta(seconds=600))
    assert await status(home, tokens["access_token"]) == 401


async def test_the_public_keys_are_published(home: Caller, algorithm: str, keys: list[KeyFiles]) -> None:
    """All that verifiers know, so that a key can be changed; nothing of a shared secret."""
    reply = await home.get("/auth/jwks.json")
    assert reply.status_code == 200
    assert reply.headers["Cache-Control"] == "public, max-age=300"
    published = reply.json()["keys"]
    if algorithm == "HS256":
        assert published == []
        return
    assert {key["kid"] for key in published} == {pair.key_id for pair in keys}
    assert all(set(key) == {"kty", "crv", "x", "kid", "use", "alg"} for key in published)


@pytest.mark.parametrize("algorithm", ["EdDSA"], indirect=True)
async def test_others_can_verify_with_what_is_published(
    home: Caller, account: Account, tokens: dict[str, Any], settings: Settings
) -> None:
    """A standard library finds the key by its id and reads the token."""
    published = jwt.PyJWKSet.from_dict((await home.get("/auth/jwks.json")).json())
    key = published[jwt.get_unverified_header(tokens["access_token"])["kid"]]
    assert isinstance(key.key, Ed25519PublicKey)
    claims = jwt.decode(
        tokens["access_token"],
        key,
        algorithms=["EdDSA"],
        audience=settings.jwt_audience,
        issuer=settings.jwt_issuer,
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )
    assert claims["sub"] == account.id
