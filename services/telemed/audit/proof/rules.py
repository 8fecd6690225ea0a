"""Compares a log with the checkpoints that were exported of it, and names what was tampered with. Pure.

Nothing that the log says of itself is believed where a checkpoint speaks: only hashes that were computed from the
records themselves count. Both sides are walked twice, in step, and only differences are kept, so that memory grows
with the damage and not with the log.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from telemed.audit.chain.rules import GENESIS, chain_hash

_ENTRY_LEFT = "its entry in the chain is left"
Kind = Literal["altered", "removed", "inserted", "reordered", "tail cut", "chain broken", "not chained", "retirement"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One record as a checkpoint remembers it."""

    seq: int
    record_id: UUID
    record_hash: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as the log shows it. *record_hash* is computed from the record itself; None if it is gone."""

    seq: int
    record_id: UUID
    record_hash: bytes | None
    stored_record_hash: bytes
    chain_hash: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. *seq* is the place in the checkpoint, or in the log where no checkpoint knows it."""

    kind: Kind
    seq: int
    record_id: UUID | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison found, in order, and how far it reached."""

    findings: tuple[Finding, ...]
    covered_records: int
    uncovered_records: int
    last_covered_seq: int

    @property
    def is_intact(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.findings


def verify(leaves: Callable[[], Iterable[Leaf]], entries: Callable[[], Iterable[Entry]]) -> Verdict:
    """Compare the log's entries with the checkpoints' leaves; each is asked for twice.

    Entries beyond the last checkpoint are only checked against their own chain.
    """
    matching = _Matching()
    matching.walk(iter(leaves()), iter(entries()))
    covered = [*_matched_findings(matching, leaves(), entries()), *matching.unmatched_findings()]
    # What the checkpoints name explains a broken chain within their reach; beyond it the chain is all there is.
    own = [found for place, found in matching.chain_findings if place > matching.last_matched_at or not covered]
    return Verdict(
        findings=tuple(sorted(covered + own, key=lambda found: (found.seq, found.kind))),
        covered_records=matching.leaf_count,
        uncovered_records=max(0, matching.entry_count - matching.last_matched_at - 1),
        last_covered_seq=matching.last_seq,
    )


@dataclass
class _Matching:
    """The first walk: which leaves and entries belong together, by the records' ids.

    An entry that no leaf knows was inserted if a known one follows it; behind the last known one it is merely newer
    than the checkpoints.
    """

    leaf_count: int = 0
    entry_count: int = 0
    last_seq: int = 0
    last_matched_at: int = -1
    tail_starts_at: int | None = None  # position of the first entry after the leaves ran out
    lost: dict[UUID, Leaf] = field(default_factory=dict)
    strange: dict[int, Entry] = field(default_factory=dict)  # by position, before the tail
    chain_findings: list[tuple[int, Finding]] = field(default_factory=list)  # with the entry's position
    _strange_by_id: dict[UUID, int] = field(default_factory=dict)

    def walk(self, leaves: Iterator[Leaf], entries: Iterator[Entry]) -> None:
        """Walk both in step, so that at most what is displaced waits for its counterpart."""
        links = LinkCheck(self._note_link)
        leaf, entry = next(leaves, None), next(entries, None)
        while leaf is not None or entry is not None:
            if leaf is not None:
                self._take_leaf(leaf)
            elif self.tail_starts_at is None:
                self.tail_starts_at = self.entry_count
            if entry is not None:
                links.check(entry)
                self._take_entry(entry)
            leaf, entry = next(leaves, None), next(entries, None)

    def _note_link(self, finding: Finding) -> None:
        self.chain_findings.append((self.entry_count, finding))

    def _take_leaf(self, leaf: Leaf) -> None:
        self.leaf_count += 1
        self.last_seq = leaf.seq
        position = self._strange_by_id.pop(leaf.record_id, None)
        if position is None:
            self.lost[leaf.record_id] = leaf
        else:
            del self.strange[position]
            self.last_matched_at = max(self.last_matched_at, position)

    def _take_entry(self, entry: Entry) -> None:
        position = self.entry_count
        self.entry_count += 1
        if self.lost.pop(entry.record_id, None) is not None:
            self.last_matched_at = position
        elif self.tail_starts_at is None or self.lost:
            # In the tail only while leaves are missed: one of them may follow, and then this one was inserted.
            self.strange[position] = entry
            self._strange_by_id.setdefault(entry.record_id, position)

    def is_matched(self, position: int) -> bool:
        """Tell whether the entry at this position belongs to a leaf."""
        return position <= self.last_matched_at and position not in self.strange

    def unmatched_findings(self) -> Iterator[Finding]:
        """Name the leaves without an entry and the entries without a leaf."""
        cut = self._cut_tail()
        if cut:
            first, last = cut[0], cut[-1]
            count = f"{len(cut)} records of the checkpoint are" if len(cut) > 1 else "1 record of the checkpoint is"
            yield Finding("tail cut", first.seq - 1, None, f"{count} missing ({first.record_id} to {last.record_id})")
        for leaf in self.lost.values():
            if not cut or leaf.seq < cut[0].seq:
                yield Finding("removed", leaf.seq, leaf.record_id)
        for position, entry in self.strange.items():
            if position < self.last_matched_at:
                yield Finding("inserted", entry.seq, entry.record_id)

    def _cut_tail(self) -> list[Leaf]:
        """Give the last leaves, if they and all that may have followed are gone."""
        if self.entry_count > self.last_matched_at + 1:
            return []  # something stands behind the last record that is still there
        cut: list[Leaf] = []
        for leaf in sorted(self.lost.values(), key=lambda leaf: -leaf.seq):
            if leaf.seq != self.last_seq - len(cut):
                break
            cut.append(leaf)
        return cut[::-1]


class LinkCheck:
    """Checks each entry against the one before it: all that can be said where no checkpoint speaks.

    *is_whole* says that the first entry must be the chain's first.
    """

    def __init__(self, note: Callable[[Finding], None], *, is_whole: bool = False) -> None:
        self._note_finding = note
        self._seq: int | None = 0 if is_whole else None
        self._chain_hash: bytes | None = GENESIS if is_whole else None

    def check(self, entry: Entry) -> None:
        """Note what is wrong with this entry; goes on from what it says, so that one fault is named once."""
        if self._seq is None and entry.seq == 1:
            self._seq, self._chain_hash = 0, GENESIS
        if self._seq is not None and entry.seq != self._seq + 1:
            self._note_gap(entry, self._seq)
        elif self._chain_hash is not None and entry.chain_hash != chain_hash(
            self._chain_hash, entry.seq, entry.stored_record_hash
        ):
            self._note(entry, "chain broken", "its chain hash does not follow from the one before")
        if entry.record_hash is None:
            self._note(entry, "removed", _ENTRY_LEFT)
        elif entry.record_hash != entry.stored_record_hash:
            self._note(entry, "altered", "")
        self._seq, self._chain_hash = entry.seq, entry.chain_hash

    def _note(self, entry: Entry, kind: Kind, detail: str) -> None:
        self._note_finding(Finding(kind, entry.seq, entry.record_id, detail))

    def _note_gap(self, entry: Entry, before: int) -> None:
        if entry.seq <= before:
            self._note(entry, "chain broken", f"its number does not follow {before}")
        else:
            self._note(entry, "chain broken", f"the numbers from {before + 1} to {entry.seq - 1} are missing before it")


def _matched_findings(matching: _Matching, leaves: Iterable[Leaf], entries: Iterable[Entry]) -> Iterator[Finding]:
    """Compare what belongs together, in a second walk, block by block.

    A block ends where both sides have shown the same records; within it they may stand in another order.
    """
    known = (leaf for leaf in leaves if leaf.record_id not in matching.lost)
    shown = (entry for position, entry in enumerate(entries) if matching.is_matched(position))
    block_leaves: list[Leaf] = []
    block_entries: list[Entry] = []
    open_ids: Counter[UUID] = Counter()
    for leaf, entry in zip(known, shown, strict=False):
        block_leaves.append(leaf)
        block_entries.append(entry)
        for record_id, change in ((leaf.record_id, 1), (entry.record_id, -1)):
            open_ids[record_id] += change
            if not open_ids[record_id]:
                del open_ids[record_id]
        if not open_ids:
            yield from _block_findings(block_leaves, block_entries)
            block_leaves, block_entries = [], []


def _block_findings(leaves: Sequence[Leaf], entries: Sequence[Entry]) -> Iterator[Finding]:
    rank_of = {leaf.record_id: rank for rank, leaf in enumerate(leaves)}
    misplaced = out_of_place([rank_of[entry.record_id] for entry in entries]) if len(leaves) > 1 else set()
    for entry in entries:
        rank = rank_of[entry.record_id]
        leaf = leaves[rank]
        if entry.record_hash is None:
            yield Finding("removed", leaf.seq, leaf.record_id, _ENTRY_LEFT)
        elif entry.record_hash != leaf.record_hash:
            yield Finding("altered", leaf.seq, leaf.record_id)
        if rank in misplaced:
            yield Finding("reordered", leaf.seq, leaf.record_id, f"stands at seq {entry.seq}")


def out_of_place(order: Sequence[int]) -> set[int]:
    """Give the members of a permutation of 0..n-1 that were moved, as few as explain the order.

    Two that were swapped are both named; of a long stretch over which one was carried, only that one. So: those that
    stand elsewhere than they should and do not belong to every longest increasing subsequence.
    """
    ends = _increasing_lengths(order)
    starts = _increasing_lengths([-rank for rank in reversed(order)])[::-1]
    longest = max(ends, default=0)
    on_longest = [end + start - 1 == longest for end, start in zip(ends, starts, strict=True)]
    alternatives = Counter(end for end, is_on in zip(ends, on_longest, strict=True) if is_on)
    return {
        rank
        for place, rank in enumerate(order)
        if rank != place and not (on_longest[place] and alternatives[ends[place]] == 1)
    }


def _increasing_lengths(order: Sequence[int]) -> list[int]:
    """Give, for each place, the length of the longest increasing subsequence that ends there."""
    smallest_ends: list[int] = []
    lengths = []
    for rank in order:
        place = bisect_left(smallest_ends, rank)
        smallest_ends[place : place + 1] = [rank]
        lengths.append(place + 1)
    return lengths
