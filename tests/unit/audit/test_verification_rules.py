"""Whatever is done to a log, the verdict names exactly what was tampered with."""

from dataclasses import dataclass, replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.audit.logs import Log, content, honest_log, leaves_of, rechained

from telemed.audit.proof.rules import Entry, Verdict, out_of_place, verify

FAKE_IDS = 1_000_000


@dataclass(frozen=True)
class Attack:
    """Which records of which log are tampered with, and whether the chain is computed anew afterwards."""

    size: int
    covered: int
    altered: frozenset[int]
    removed: frozenset[int]
    inserted_before: frozenset[int]
    recomputes: bool

    @property
    def log(self) -> Log:
        """Give the log after the attack."""
        tampered: Log = []
        for entry in honest_log(self.size):
            number = entry.seq
            if number in self.inserted_before:
                fake = content(FAKE_IDS + number)
                tampered.append(Entry(number, UUID(int=FAKE_IDS + number), fake, fake, bytes(32)))
            if number in self.removed:
                continue
            if number in self.altered:
                entry = replace(entry, record_hash=content(number, version=1))  # noqa: PLW2901 - the altered one
            tampered.append(entry)
        return rechained(tampered) if self.recomputes else tampered


@st.composite
def attacks(draw: st.DrawFn) -> Attack:
    """Draw an attack on the covered part that leaves the last covered record alone."""
    size = draw(st.integers(2, 40))
    covered = draw(st.integers(2, size))
    # The last covered record stays: behind it, what is inserted is merely new, and what is removed is a cut tail.
    places = st.frozensets(st.integers(1, covered - 1), max_size=6)
    removed = draw(places)
    return Attack(size, covered, draw(places) - removed, removed, draw(places), draw(st.booleans()))


def verdict_on(log: Log, covered: int, size: int) -> Verdict:
    """Compare the log with the checkpoints of the honest one."""
    leaves = leaves_of(honest_log(size), covered)
    return verify(lambda: leaves, lambda: log)


def named(verdict: Verdict, kind: str) -> set[int]:
    """Give the numbers of the records that the verdict names so."""
    return {found.record_id.int for found in verdict.findings if found.kind == kind and found.record_id is not None}


@given(attacks())
def test_a_verdict_names_exactly_the_tampered_records(attack: Attack) -> None:
    """Altered, removed and inserted ones, whether or not the attacker computed the chain anew."""
    verdict = verdict_on(attack.log, attack.covered, attack.size)
    assert named(verdict, "altered") == attack.altered
    assert named(verdict, "removed") == attack.removed
    assert named(verdict, "inserted") == {FAKE_IDS + number for number in attack.inserted_before}
    assert named(verdict, "reordered") == set()
    assert verdict.is_intact == (not attack.altered | attack.removed | attack.inserted_before)


@given(st.integers(1, 60), st.data())
def test_an_untouched_log_verifies(size: int, data: st.DataObject) -> None:
    """However much of it the checkpoints cover; the rest is counted."""
    covered = data.draw(st.integers(1, size))
    verdict = verdict_on(honest_log(size), covered, size)
    assert (verdict.findings, verdict.covered_records, verdict.uncovered_records) == ((), covered, size - covered)


@given(st.integers(2, 40), st.booleans(), st.data())
def test_two_swapped_records_are_both_named(size: int, recomputes: bool, data: st.DataObject) -> None:
    """And nothing between them."""
    first = data.draw(st.integers(1, size - 1))
    second = data.draw(st.integers(first + 1, size))
    log = honest_log(size)
    log[first - 1], log[second - 1] = log[second - 1], log[first - 1]
    verdict = verdict_on(rechained(log) if recomputes else log, size, size)
    assert named(verdict, "reordered") == {first, second}
    assert not named(verdict, "altered") | named(verdict, "removed") | named(verdict, "inserted")


@given(st.integers(4, 40), st.data())
def test_one_record_carried_far_is_named_alone(size: int, data: st.DataObject) -> None:
    """Not the many over which it was carried."""
    start = data.draw(st.integers(1, size - 3))
    end = data.draw(st.integers(start + 3, size))
    log = honest_log(size)
    log.insert(end - 1, log.pop(start - 1))
    assert named(verdict_on(rechained(log), size, size), "reordered") == {start}


@given(st.integers(1, 40), st.data())
def test_a_cut_tail_is_named_as_such(size: int, data: st.DataObject) -> None:
    """With the place of the cut and how many are missing, in one finding."""
    kept = data.draw(st.integers(0, size - 1))
    (found,) = verdict_on(honest_log(size)[:kept], size, size).findings
    assert (found.kind, found.seq) == ("tail cut", kept)
    assert found.detail.startswith(f"{size - kept} record")


@given(st.integers(3, 30), st.integers(1, 5), st.data())
def test_new_records_after_a_cut_do_not_hide_it(size: int, fresh: int, data: st.DataObject) -> None:
    """The platform goes on and chains what comes; the missing ones are still named, each."""
    kept = data.draw(st.integers(0, size - 1))
    newer = [Entry(0, UUID(int=FAKE_IDS + n), content(FAKE_IDS + n), b"", b"") for n in range(fresh)]
    log = rechained(honest_log(size)[:kept] + newer)
    verdict = verdict_on(log, size, size)
    assert named(verdict, "removed") == set(range(kept + 1, size + 1))


@given(st.integers(2, 30), st.data())
def test_a_record_whose_chain_entry_is_left_is_named(size: int, data: st.DataObject) -> None:
    """Its entry in the chain does not stand in for it."""
    gone = data.draw(st.integers(1, size))
    log = honest_log(size)
    log[gone - 1] = replace(log[gone - 1], record_hash=None)
    assert named(verdict_on(log, size, size), "removed") == {gone}


@given(st.integers(3, 30), st.data())
def test_beyond_the_checkpoints_the_chain_tells(size: int, data: st.DataObject) -> None:
    """An altered record is named as long as the attacker did not compute the chain anew."""
    covered = data.draw(st.integers(1, size - 1))
    altered = data.draw(st.integers(covered + 1, size))
    log = honest_log(size)
    log[altered - 1] = replace(log[altered - 1], record_hash=content(altered, version=1))
    assert named(verdict_on(log, covered, size), "altered") == {altered}


@given(st.integers(3, 30), st.data())
def test_an_altered_chain_hash_is_noticed(size: int, data: st.DataObject) -> None:
    """Even when every record is what the checkpoints say."""
    place = data.draw(st.integers(1, size))
    log = honest_log(size)
    log[place - 1] = replace(log[place - 1], chain_hash=bytes(32))
    kinds = {found.kind for found in verdict_on(log, size, size).findings}
    assert kinds == {"chain broken"}


def test_all_that_can_be_done_at_once_is_told_apart() -> None:
    """One log, five crimes."""
    log = honest_log(20)
    log[2] = replace(log[2], record_hash=content(3, version=1))
    log[7], log[12] = log[12], log[7]
    del log[15]
    log.insert(5, Entry(0, UUID(int=FAKE_IDS), content(FAKE_IDS), b"", b""))
    verdict = verdict_on(rechained(log)[:-1], 20, 20)
    kinds = [(found.kind, found.record_id.int if found.record_id else None) for found in verdict.findings]
    assert kinds == [
        ("altered", 3),
        ("inserted", FAKE_IDS),
        ("reordered", 8),
        ("reordered", 13),
        ("removed", 16),
        ("tail cut", None),
    ]


@given(st.permutations(range(8)))
def test_who_is_not_named_stands_right_or_in_order(order: list[int]) -> None:
    """Nobody is named in an ordered log, somebody in any other."""
    moved = out_of_place(order)
    carried_over = [rank for place, rank in enumerate(order) if rank != place and rank not in moved]
    assert carried_over == sorted(carried_over)
    assert (moved == set()) == (order == sorted(order))
