"""Consistency tokens and positions in the write-ahead log."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.settings import NOW

from telemed.kernel.replication.exchange import Consistency
from telemed.kernel.replication.positions import BEYOND_ALL, PrimaryTrack, WalPosition, furthest
from telemed.kernel.replication.tokens import VALID_FOR, TokenSigner

SIGNER = TokenSigner(b"a key of this test")
POSITIONS = st.builds(WalPosition, st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1))


@given(POSITIONS)
def test_a_token_says_what_was_written(position: WalPosition) -> None:
    """For as long as a replica may be behind."""
    token = SIGNER.sign(position, now=NOW)
    assert SIGNER.read(token, now=NOW + VALID_FOR) == position
    assert SIGNER.read(token, now=NOW + VALID_FOR + timedelta(seconds=1)) is None


@given(POSITIONS, st.data())
def test_a_token_cannot_be_changed(position: WalPosition, data: st.DataObject) -> None:
    """Whatever is changed in it, it asks for the primary."""
    token = SIGNER.sign(position, now=NOW)
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.characters(codec="latin-1").filter(lambda c: c != token[place]))
    changed = token[:place] + letter + token[place + 1 :]
    assert SIGNER.read(changed, now=NOW) == BEYOND_ALL


def test_a_token_of_another_key_asks_for_the_primary() -> None:
    """After the secret was changed, clients still hold tokens of the old one."""
    foreign = TokenSigner(b"another key").sign(WalPosition(1, 1), now=NOW)
    assert SIGNER.read(foreign, now=NOW) == BEYOND_ALL


@pytest.mark.parametrize(
    ("replica", "needed", "covers"),
    [
        (WalPosition(1, 100), WalPosition(1, 100), True),
        (WalPosition(1, 99), WalPosition(1, 100), False),
        (WalPosition(2, 100), WalPosition(1, 100), True),
        (WalPosition(1, 500), WalPosition(2, 100), False),  # it follows a former primary, which writes on
        (WalPosition(2, 99), WalPosition(1, 100), False),
        (WalPosition(2**31 - 2, 2**63 - 2), BEYOND_ALL, False),
    ],
)
def test_a_replica_covers_what_it_has(replica: WalPosition, needed: WalPosition, covers: bool) -> None:
    """On an older timeline bytes of the same place are others."""
    assert replica.covers(needed) is covers


@given(st.lists(POSITIONS, min_size=1))
def test_the_furthest_covers_all(positions: list[WalPosition]) -> None:
    """Header and cookie may name different writes; both must be seen."""
    most = furthest(positions)
    assert most is not None
    assert all(most.covers(one) for one in positions)
    assert furthest([]) is None


def test_an_age_is_that_of_the_last_position_that_is_covered() -> None:
    """Too high by up to a sample, never too low; unknown without one."""
    track = PrimaryTrack()
    assert track.age_of(WalPosition(1, 10), 100.0) is None
    for at, lsn in [(100.0, 10), (101.0, 20), (102.0, 30)]:
        track.note(at, WalPosition(1, lsn))
    assert track.age_of(WalPosition(1, 35), 103.0) == timedelta(seconds=1)
    assert track.age_of(WalPosition(1, 29), 103.0) == timedelta(seconds=2)
    assert track.age_of(WalPosition(1, 9), 103.0) is None
    track.note(103.0, WalPosition(2, 31))
    assert track.age_of(WalPosition(1, 99), 104.0) == timedelta(seconds=2), "another timeline's bytes do not count"


@pytest.mark.parametrize(
    ("headers", "tokens"),
    [
        ([(b"x-consistency-token", b"a")], ("a",)),
        ([(b"cookie", b"x=1; telemed_consistency=b; y=2")], ("b",)),
        ([(b"cookie", b"telemed_consistency=c"), (b"x-consistency-token", b" d ")], ("c", "d")),
        ([(b"cookie", b"not_telemed_consistency=e")], ()),
        ([(b"x-consistency-token", b"f")] * 20, ("f",) * 8),
    ],
)
def test_tokens_are_taken_from_header_and_cookie(headers: list[tuple[bytes, bytes]], tokens: tuple[str, ...]) -> None:
    """A few of them; a client that sends hundreds pays for none."""
    assert Consistency.of(headers).tokens == tokens


def test_a_reply_without_a_write_says_nothing() -> None:
    """Neither token nor cookie nor age."""
    assert list(Consistency().response_headers()) == []
