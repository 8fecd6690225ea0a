"""What a generator has measured, in a form that several generators' can be added up in and a file can hold."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from telemed_load.latency import Milliseconds


@dataclass
class Kind:
    """The requests of one kind."""

    latency: Milliseconds = field(default_factory=Milliseconds)  # from the intended start
    service: Milliseconds = field(default_factory=Milliseconds)  # from when it was really sent, whatever the status
    statuses: Counter[str] = field(default_factory=Counter)  # "200", "409 slot-taken", "no answer: timed out"


@dataclass
class Second:
    """The requests that were intended to start in one second of the window."""

    reads: Milliseconds = field(default_factory=Milliseconds)
    writes: Milliseconds = field(default_factory=Milliseconds)

    @property
    def all(self) -> Milliseconds:
        """Reads and writes."""
        return Milliseconds.sum([self.reads, self.writes])


@dataclass(frozen=True, slots=True)
class Health:
    """How the generator itself fared in one second."""

    second: int
    cpu_ratio: float  # of one core, which is all that a generator can use
    lag_seconds: float  # by how much its event loop was late at worst


@dataclass
class Measurements:
    """One run, or one worker's part of it."""

    kinds: dict[str, Kind] = field(default_factory=dict)
    seconds: dict[int, Second] = field(default_factory=dict)
    health: list[list[Health]] = field(default_factory=list)  # one list a worker
    # arrivals, dropped, planned_requests, sent_requests, ended_early, … : what became of what was intended
    counts: Counter[str] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)  # answers that no journey deserves
    violations: list[str] = field(default_factory=list)  # of promises, seen while it ran
    # What was acknowledged, for the look afterwards: appointment -> {patient, slot, status}
    acknowledged: dict[str, dict[str, str]] = field(default_factory=dict)
    winners: Counter[str] = field(default_factory=Counter)  # of a stampede, by slot
    scrapes: dict[str, list[str]] = field(default_factory=dict)  # "before", "after": the servers' metrics
    ended: str = ""  # why, if not because the window was over

    def kind(self, name: str) -> Kind:
        """Give the requests of this kind, none at first."""
        return self.kinds.setdefault(name, Kind())

    def second(self, at: float) -> Second:
        """Give the second in which *at* lies."""
        return self.seconds.setdefault(int(at), Second())

    @property
    def requests(self) -> int:
        """How many requests were measured."""
        return sum(kind.latency.count for kind in self.kinds.values())

    def to_json(self) -> dict[str, Any]:
        """Write it down."""
        return {
            "kinds": {
                name: {"latency": kind.latency.to_json(), "service": kind.service.to_json(), "statuses": kind.statuses}
                for name, kind in self.kinds.items()
            },
            "seconds": {
                str(at): {"reads": second.reads.to_json(), "writes": second.writes.to_json()}
                for at, second in self.seconds.items()
            },
            "health": [[[one.second, one.cpu_ratio, one.lag_seconds] for one in worker] for worker in self.health],
            "counts": self.counts,
            "unexpected": self.unexpected,
            "violations": self.violations,
            "acknowledged": self.acknowledged,
            "winners": self.winners,
            "scrapes": self.scrapes,
            "ended": self.ended,
        }

    @classmethod
    def from_json(cls, written: dict[str, Any]) -> "Measurements":
        """Read what `to_json` wrote."""
        read = Milliseconds.from_json
        return cls(
            kinds={
                name: Kind(read(kind["latency"]), read(kind["service"]), Counter(kind["statuses"]))
                for name, kind in written["kinds"].items()
            },
            seconds={
                int(at): Second(read(second["reads"]), read(second["writes"]))
                for at, second in written["seconds"].items()
            },
            health=[[Health(int(at), cpu, lag) for at, cpu, lag in worker] for worker in written["health"]],
            counts=Counter(written["counts"]),
            unexpected=Counter(written["unexpected"]),
            violations=list(written["violations"]),
            acknowledged=dict(written["acknowledged"]),
            winners=Counter(written["winners"]),
            scrapes=dict(written["scrapes"]),
            ended=written["ended"],
        )


def merged(parts: Iterable[Measurements]) -> Measurements:
    """Add up what several workers have measured in the same window."""
    whole = Measurements()
    for part in parts:
        for name, kind in part.kinds.items():
            sum_ = whole.kind(name)
            sum_.latency = Milliseconds.sum([sum_.latency, kind.latency])
            sum_.service = Milliseconds.sum([sum_.service, kind.service])
            sum_.statuses.update(kind.statuses)
        for at, second in part.seconds.items():
            there = whole.second(at)
            there.reads = Milliseconds.sum([there.reads, second.reads])
            there.writes = Milliseconds.sum([there.writes, second.writes])
        whole.health += part.health
        whole.counts.update(part.counts)
        whole.unexpected.update(part.unexpected)
        whole.violations += part.violations
        whole.acknowledged |= part.acknowledged
        whole.winners.update(part.winners)
        whole.scrapes |= part.scrapes
        whole.ended = whole.ended or part.ended
    return whole
