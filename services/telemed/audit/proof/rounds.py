"""Walks the chain from its beginning, again and again, in small steps; the worker's continuous verification.

Finds what the database itself gives away: records that are not what their links say, links that do not follow, and a
chain that is not what its head, its checkpoints or an earlier look of this process say. Against an owner who rewrites
all of them before a process begins, only exported checkpoints help (`telemed audit verify`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.audit.chain import queries
from telemed.audit.chain.operations import row_hash
from telemed.audit.chain.queries import Head
from telemed.audit.chain.rules import GENESIS
from telemed.audit.proof.retired import RetiredRecords
from telemed.audit.proof.rules import Entry, Finding, LinkCheck
from telemed.audit.retention.queries import Retirement, retirements
from telemed.kernel.jobs import Job
from telemed.kernel.resources import Resources
from telemed.kernel.telemetry.logs import get_logger

log = get_logger("audit")

_AT_ONCE = 1000  # links of one step, in one transaction
# Some 15 ms of hashing; then whoever else is waiting for the event loop has a turn.
_BETWEEN_TURNS = 200
# Of one round; a chain that was rewritten has as many as it has links.
_LOGGED = 20
# A month that another machine retires just now must not lie in our future, which would be a fault.
_CLOCKS_DIFFER = timedelta(minutes=5)

_Retirements = Sequence[tuple[Retirement, dict[str, Any] | None]]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """What one step reads. *known*: chain hashes that head and checkpoints have for places of it or beyond it."""

    known: list[Head]
    rows: Sequence[Row[tuple[Any, ...]]]
    retirements: _Retirements


async def _read(session: AsyncSession, after: int) -> _Stretch:
    """Read the next links and what they must agree with.

    In this order, as each statement has a snapshot of its own: the chain reaches at least as far as head and
    checkpoints did before it was read, and what it lacks because it was retired, the retirements that are read after
    it explain.
    """
    known = [await queries.peek_head(session)]
    last = await queries.last_checkpoint(session)
    if last is not None:
        known.append(Head(last[0], last[1]))
    rows = await queries.log_after(session, after, limit=_AT_ONCE)
    if rows:
        within = await queries.checkpoints_within(session, after + 1, rows[-1].seq)
        known += [Head(one.to_seq, one.chain_hash) for one in within]
    return _Stretch([one for one in known if one.seq > after], rows, await retirements(session))


@dataclass
class _Round:
    """One walk from the first link to the last. *marks*: chain hashes that are known from elsewhere, by their place."""

    marks: dict[int, set[bytes]]
    seq: int = 0
    chain_hash: bytes = GENESIS
    looked_at: int = 0
    findings: int = 0
    is_over: bool = False
    _links: LinkCheck = field(init=False)
    _retired: RetiredRecords | None = None
    _believed: tuple[UUID, ...] = ()
    _counts_hold: bool = True

    def __post_init__(self) -> None:
        self._links = LinkCheck(self._note, is_whole=True)

    async def take(self, stretch: _Stretch, *, now: datetime) -> None:
        """Look at the stretch, with turns for others in between."""
        for one in stretch.known:
            self.marks.setdefault(one.seq, set()).add(one.chain_hash)
        retired = self._retired_of(stretch.retirements, now)
        for place, row in enumerate(stretch.rows):
            if place and place % _BETWEEN_TURNS == 0:
                await asyncio.sleep(0)
            self._take(retired.stand_in(_entry(row)))
        if len(stretch.rows) < _AT_ONCE:
            self._end(retired)

    def _retired_of(self, said: _Retirements, now: datetime) -> RetiredRecords:
        """Give what stands in for retired records; anew if a month was retired on the way.

        Then nobody can say how many of its records this round should have missed; the next one counts them.
        """
        ids = tuple(one.record_id for one, _ in said)
        if self._retired is None or ids != self._believed:
            self._counts_hold = self._retired is None
            self._retired, self._believed = RetiredRecords(said, now=now + _CLOCKS_DIFFER), ids
        return self._retired

    def _take(self, entry: Entry) -> None:
        self._links.check(entry)
        if not self.marks.pop(entry.seq, set()) <= {entry.chain_hash}:
            self._note(Finding("chain broken", entry.seq, entry.record_id, "its chain hash was or should be another"))
        self.seq, self.chain_hash = entry.seq, entry.chain_hash
        self.looked_at += 1

    def _end(self, retired: RetiredRecords) -> None:
        beyond = max(self.marks, default=0)
        if beyond > self.seq:  # places before it that are missing were noted as a gap
            self._note(Finding("tail cut", self.seq, None, f"the places up to {beyond} are missing"))
        for finding in (*retired.findings, *(retired.count_findings() if self._counts_hold else ())):
            self._note(finding)
        self.is_over = True

    def _note(self, finding: Finding) -> None:
        self.findings += 1
        if self.findings <= _LOGGED:
            record_id = str(finding.record_id) if finding.record_id else None
            log.error("chain.broken", kind=finding.kind, seq=finding.seq, record_id=record_id, detail=finding.detail)


def _entry(row: Row[tuple[Any, ...]]) -> Entry:
    return Entry(row.seq, row.record_id, row_hash(row), row.record_hash, row.chain_hash)


class Rounds:
    """The rounds of one process; where it stands is kept in memory, so a new process begins at the first link."""

    def __init__(self) -> None:
        self._round: _Round | None = None
        self._found_before = 0
        self._seen: Head | None = None  # the chain's end, as the last round saw it

    @property
    def is_between_rounds(self) -> bool:
        """Tell whether the next step begins at the first link."""
        return self._round is None

    async def step(self, resources: Resources) -> int:
        """Look at the next links and set the gauges; never has more to do at once."""
        now = resources.clock.now()
        if self._round is None:
            self._round = _Round({self._seen.seq: {self._seen.chain_hash}} if self._seen else {})
        current = self._round
        stretch = await resources.db.read(_read, current.seq)
        try:
            await current.take(stretch, now=now)
        except BaseException:
            self._round = None  # it has seen a part of the stretch, and can neither go on nor look again
            raise
        # What a round has found stays shown until another has gone by without it.
        found = current.findings if current.is_over else max(current.findings, self._found_before)
        resources.metrics.chain_breaks.set(found)
        resources.metrics.chain_verified_records.set(current.looked_at)
        resources.metrics.chain_verified.set(now.timestamp())
        if current.is_over:
            self._end(current)
        return 0

    def _end(self, over: _Round) -> None:
        self._found_before = over.findings
        # An end is remembered from clean rounds only: a chain that was rewritten must not become what is expected.
        if over.seq and not over.findings:
            self._seen = Head(over.seq, over.chain_hash)
        self._round = None


async def _verify(resources: Resources) -> int:
    rounds = resources.parts.setdefault(Rounds, Rounds())
    return int(await rounds.step(resources))


# 1,000 links every second: what that costs, and how long a round takes, says docs/proofs.md.
VERIFY = Job("audit-verify", timedelta(seconds=1), _verify)
