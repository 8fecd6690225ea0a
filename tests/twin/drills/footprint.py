"""Memory and connections of the twin, at the beginning of a campaign and at its end."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.twin.twin import Twin

# Python keeps what it once needed; a leak goes on. Between two samples an hour apart this much is no finding.
GROWTH_ALLOWED = 1.3
GROWTH_ALLOWED_BYTES = 40 * 2**20
CONNECTIONS_ALLOWED = 20
_RSS = re.compile(r"^VmRSS:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True)
class Footprint:
    """What is held at one moment."""

    bytes_of: dict[str, int]  # resident memory of each process, by its name
    connections: dict[str, int]  # client connections of each database node

    def grown_to(self, later: "Footprint") -> list[str]:
        """Say what is not flat."""
        found = []
        for name, after in later.bytes_of.items():
            before = self.bytes_of.get(name, after)
            if after > before * GROWTH_ALLOWED and after - before > GROWTH_ALLOWED_BYTES:
                found.append(f"{name} grew from {before >> 20} to {after >> 20} MiB")
        before_all, after_all = sum(self.connections.values()), sum(later.connections.values())
        if after_all > before_all + CONNECTIONS_ALLOWED:
            found.append(f"connections grew from {before_all} to {after_all}")
        return found

    def __str__(self) -> str:
        """Give a line for people."""
        total = sum(self.bytes_of.values()) >> 20
        return f"{total} MiB in {len(self.bytes_of)} processes, {sum(self.connections.values())} server connections"


async def footprint(twin: Twin) -> Footprint:
    """Measure now. Restarted processes are young again: a campaign ends with some that were never killed."""
    sizes = {name: _resident(member.pid) for name, member in twin.members.items() if member.pid is not None}
    connections = {}
    for node in twin.nodes:
        async with twin.connect(node, "superuser") as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            connections[node.name] = int(await connection.fetchval(query))
    return Footprint(sizes, connections)


def _resident(pid: int) -> int:
    try:
        found = _RSS.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:  # not Linux, or it has just ended
        return 0
    return int(found[1]) * 1024 if found else 0
