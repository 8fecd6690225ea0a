"""What others did on this machine meanwhile: it makes a platform slow and is none of its doing. Linux only.

Others can only make figures worse: what was met beside them was met. What was missed beside them may be theirs.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
OTHERS_AT_MOST = 0.15  # of all cores; an idle system's own chores are a hundredth or two
IDLE = slice(3, 5)  # idle and waiting for a disk, in the columns of /proc/stat
COLUMNS = 8  # those of guests are counted among the others already
PARENT, TIMES = 1, slice(11, 15)  # in /proc/PID/stat, after the name: user, system, and those of its dead children


@dataclass(frozen=True, slots=True)
class Moment:
    """CPU time so far, in ticks: of the machine, of that the busy part, of that ours."""

    total: int
    busy: int
    ours: int


def look(proc: Path = PROC, root: int | None = None) -> Moment | None:
    """Read how much this process and all that it started have used, and everybody; None where that is not told."""
    try:
        columns = [int(one) for one in (proc / "stat").read_text().split("\n", 1)[0].split()[1 : 1 + COLUMNS]]
    except (OSError, ValueError):
        return None
    parents, used = {}, {}
    for process, fields in _processes(proc):
        parents[process], used[process] = int(fields[PARENT]), sum(int(one) for one in fields[TIMES])
    top = os.getpid() if root is None else root
    ours = sum(ticks for process, ticks in used.items() if _descends(process, top, parents))
    return Moment(sum(columns), sum(columns) - sum(columns[IDLE]), ours)


def others_ratio(before: Moment | None, after: Moment | None) -> float | None:
    """Give the share of the machine's CPU time that was neither ours nor idle."""
    if before is None or after is None or after.total <= before.total:
        return None
    others = (after.busy - before.busy) - (after.ours - before.ours)
    return max(0.0, others / (after.total - before.total))


def _processes(proc: Path) -> Iterator[tuple[int, list[str]]]:
    for folder in proc.iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "stat").read_text()
            except OSError:
                continue  # it ended meanwhile; its parent has its time
            # A name may hold anything, brackets and blanks too: what counts comes after the last bracket.
            yield int(folder.name), line.rpartition(")")[2].split()


def _descends(process: int, top: int, parents: Mapping[int, int]) -> bool:
    while process in parents and process != top:
        process = parents[process]
    return process == top
