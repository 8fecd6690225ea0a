"""What a running twin tells other terminals: who runs where, in `.telemed/twin/state.json`."""

import json
import os
import signal
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.twin.twin import Twin

from telemed.local.account import write_private
from telemed.local.processes import command_line

FOLDER = Path(os.environ.get("TELEMED_HOME") or ".telemed").absolute() / "twin"
FILE = FOLDER / "state.json"


@dataclass(frozen=True)
class Row:
    """One process as the table shows it."""

    name: str
    role: str
    pid: int | None
    address: str
    probes: int | None
    stop_signal: int
    log: str

    @property
    def condition(self) -> str:
        """Say whether it runs, from what the machine knows of its process."""
        if self.pid is None or not command_line(self.pid):
            return "ended"
        stat = Path(f"/proc/{self.pid}/stat")
        is_stopped = stat.exists() and stat.read_text().rpartition(")")[2].split()[0] in {"T", "t"}
        return "frozen" if is_stopped else "running"


@dataclass(frozen=True)
class State:
    """The whole twin."""

    pid: int  # of the process that holds it
    gateway: str
    ca_file: str
    folder: str
    rows: list[Row]

    def named(self, what: str) -> list[Row]:
        """Find by name (pg-1), by place (primary, replica-2), or all of a kind (redis, booking)."""
        exact = [row for row in self.rows if what in {row.name, row.role}]
        return exact or [row for row in self.rows if row.name.rpartition("-")[0] == what]

    def names(self) -> list[str]:
        """List everything that `named` finds."""
        groups = {row.name.rpartition("-")[0] for row in self.rows} - {"", "pg"}
        places = {row.role for row in self.rows if row.name.startswith("pg-")}
        return [*sorted(places), *(row.name for row in self.rows), *sorted(groups)]

    def table(self) -> str:
        """Give it for people."""
        head = ("NAME", "ROLE", "PID", "ADDRESS", "PROBES", "STATE")
        cells = [
            (row.name, row.role, str(row.pid or "-"), row.address or "-", str(row.probes or "-"), row.condition)
            for row in self.rows
        ]
        widths = [max(len(line[column]) for line in (head, *cells)) for column in range(len(head))]
        return "\n".join(
            "  ".join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip()
            for line in (head, *cells)
        )


def state_of(twin: Twin) -> State:
    """Take the state of a running twin."""
    places = {node.name: place for place, node in twin.places.items()}
    if twin.warden.in_hand:
        places |= {node.name: "coming back" for node in twin.warden.in_hand}
    rows = [
        Row(
            name=name,
            role=places.get(name, name.rpartition("-")[0] or name),
            pid=member.pid,
            address=member.address,
            probes=member.probes,
            stop_signal=int(member.running.stop_signal if member.running else signal.SIGTERM),
            log=str(member.log),
        )
        for name, member in twin.members.items()
    ]
    return State(os.getpid(), twin.gateway_url, str(twin.ca_file), str(twin.folder), rows)


def write_state(state: State) -> None:
    """Replace the file in one step."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(FILE, json.dumps(asdict(state), indent=2))


def read_state() -> State | None:
    """Read what the running twin wrote; None if none is running."""
    try:
        values = json.loads(FILE.read_text())
    except FileNotFoundError:
        return None
    state = State(**{**values, "rows": [Row(**row) for row in values["rows"]]})
    return state if "tests.twin" in command_line(state.pid) else None


def forget_state(files: Iterable[Path] = (FILE,)) -> None:
    """Leave nothing behind."""
    for file in files:
        file.unlink(missing_ok=True)
    if FOLDER.exists() and not any(FOLDER.iterdir()):
        FOLDER.rmdir()
