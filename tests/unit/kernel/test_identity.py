"""The verifier: one algorithm, one type, one issuer, one audience, and our clock."""

import warnings
from datetime import timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
from tests.support.people import mint
from tests.support.settings import NOW, make_settings

from telemed.kernel.identity import TokenVerifier
from telemed.kernel.problems import NotAuthenticated

SETTINGS = make_settings()


def token(
    claims: dict[str, Any] | None = None, header: dict[str, Any] | None = None, secret: bytes | None = None
) -> str:
    return mint(SETTINGS, str(uuid4()), str(uuid4()), now=NOW, claims=claims, header=header, secret=secret)


@pytest.fixture(params=["fresh", "acquainted"])
def verifier(request: pytest.FixtureRequest) -> TokenVerifier:
    """One that asks PyJWT, and one that has seen a token of ours and accepts such by itself."""
    verifier = TokenVerifier(SETTINGS)
    if request.param == "acquainted":
        verifier.verify(token(), now=NOW)
        assert verifier._accept(token()) is not None
    return verifier


def test_a_good_token_says_who_and_which_session(verifier: TokenVerifier) -> None:
    user, session = uuid4(), uuid4()
    claims = verifier.verify(mint(SETTINGS, str(user), str(session), now=NOW), now=NOW)
    assert (claims.user_id, claims.session_id) == (user, session)
    assert claims.expires_at == NOW + SETTINGS.access_token_lifetime


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "sid", "jti", "iat", "exp"])
def test_every_claim_is_needed(verifier: TokenVerifier, claim: str) -> None:
    """A token that leaves something out is no token of ours."""
    with pytest.raises(NotAuthenticated):
        verifier.verify(token({claim: None}), now=NOW)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://elsewhere"},
        {"aud": "another-api"},
        {"sub": "root"},
        {"sub": 1},
        {"sid": "'; DROP TABLE"},
        {"exp": "never"},
        {"exp": 10**20},
        {"exp": -(10**20)},
        {"exp": [1]},
    ],
    ids=str,
)
def test_a_claim_of_another_kind_is_refused(verifier: TokenVerifier, claims: dict[str, Any]) -> None:
    """Also well signed: a key that signs other things must not open this door."""
    with pytest.raises(NotAuthenticated):
        verifier.verify(token(claims), now=NOW)


@pytest.mark.parametrize("header", [{"typ": "JWT"}, {"typ": None}, {"kid": "unknown"}], ids=str)
def test_a_header_of_another_kind_is_refused(verifier: TokenVerifier, header: dict[str, Any]) -> None:
    """The type keeps refresh and other tokens out, the key id names the one key."""
    with pytest.raises(NotAuthenticated):
        verifier.verify(token(header=header), now=NOW)


def test_another_key_is_refused(verifier: TokenVerifier) -> None:
    """Whatever the header says."""
    with pytest.raises(NotAuthenticated):
        verifier.verify(token(secret=b"another secret of at least 32 characters"), now=NOW)


def test_no_signature_is_refused(verifier: TokenVerifier) -> None:
    """`alg: none` is the oldest trick."""
    body = jwt.decode(token(), options={"verify_signature": False})
    unsigned = jwt.encode(body, key="", algorithm="none", headers={"typ": "at+jwt", "kid": next(iter(verifier.keys))})
    with pytest.raises(NotAuthenticated):
        verifier.verify(unsigned, now=NOW)


def test_another_algorithm_is_refused(verifier: TokenVerifier) -> None:
    """Also one that the library knows and the key would fit."""
    body = jwt.decode(token(), options={"verify_signature": False})
    key = next(iter(verifier.keys.values()))
    with warnings.catch_warnings(action="ignore"):  # PyJWT finds the key short for it
        other = jwt.encode(body, key, algorithm="HS384", headers={"typ": "at+jwt", "kid": next(iter(verifier.keys))})
    with pytest.raises(NotAuthenticated):
        verifier.verify(other, now=NOW)


def test_expiry_is_looked_at_on_every_use(verifier: TokenVerifier) -> None:
    """A signature that is remembered does not outlive its token."""
    made = token()
    verifier.verify(made, now=NOW)
    last = NOW + SETTINGS.access_token_lifetime
    verifier.verify(made, now=last - timedelta(seconds=1))
    with pytest.raises(NotAuthenticated, match="expired"):
        verifier.verify(made, now=last)


def test_tokens_of_ours_are_accepted_without_asking_again(
    verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first; and they say what they would have said."""
    made = [token() for _ in range(3)]
    asked = [TokenVerifier(SETTINGS).verify(one, now=NOW) for one in made]
    verifier.verify(token(), now=NOW)
    monkeypatch.setattr(jwt, "decode", None)

    assert [verifier.verify(one, now=NOW) for one in made] == asked


@pytest.mark.parametrize("more", ["==", "A", "\n", " ", ".", "é", "\udcff"], ids=repr)
def test_there_is_one_way_to_write_a_token(verifier: TokenVerifier, more: str) -> None:
    """What a lenient decoder would pass over makes it another token, and none of ours."""
    made = token()
    for written in (made + more, more + made, made.replace(".", more + ".", 1), made.replace(".", "." + more)):
        with pytest.raises(NotAuthenticated):
            verifier.verify(written, now=NOW)


def test_headers_that_are_remembered_are_bounded(verifier: TokenVerifier) -> None:
    """Who may sign may write a header in any number of ways."""
    for number in range(50):
        verifier.verify(token(header={"number": number}), now=NOW)
    assert len(verifier._headers) <= 8


@pytest.mark.parametrize("garbage", ["", ".", "..", "a.b.c", "x" * 10_000, "\x00", "é.é.é", "\udcff"], ids=repr)
def test_garbage_is_refused(verifier: TokenVerifier, garbage: str) -> None:
    """Never an exception of another kind."""
    with pytest.raises(NotAuthenticated):
        verifier.verify(garbage, now=NOW)


def test_a_token_that_is_changed_is_refused(verifier: TokenVerifier) -> None:
    """Each part is covered by the signature."""
    made = token()
    verifier.verify(made, now=NOW)
    for place in (3, made.index(".") + 5, len(made) - 5):
        changed = made[:place] + ("A" if made[place] != "A" else "B") + made[place + 1 :]
        with pytest.raises(NotAuthenticated):
            verifier.verify(changed, now=NOW)


def test_what_is_remembered_is_bounded(verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of tokens does not fill the memory."""
    monkeypatch.setattr("telemed.kernel.identity._REMEMBERED", 10)
    for _ in range(50):
        verifier.verify(token(), now=NOW)
    assert len(verifier._seen) <= 10
