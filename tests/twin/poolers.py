"""The two PgBouncers, with the repository's own configuration: only addresses differ."""

import csv
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from tests.support.programs import find_program
from tests.twin.member import Member
from tests.twin.postgres import Node, Postgres

from telemed.local import roles
from telemed.local.account import Account, private_folder, write_private
from telemed.local.binaries import postgres_programs
from telemed.local.processes import Guard, Program, Running, is_answered

CONFIGURATION = Path(__file__).parents[2] / "services" / "compose" / "pgbouncer"
COMMON = "pgbouncer-common.ini"
IN_THE_IMAGE = "/etc/pgbouncer/"


@dataclass(frozen=True)
class Target:
    """Where a database of the pooler leads."""

    host: str
    port: int
    database: str

    def __str__(self) -> str:
        """Give it as a line of [databases] has it."""
        return f"host={self.host} port={self.port} dbname={self.database}"


class Pooler(Member):
    """One PgBouncer. *shipped* is the file of the repository that it starts from."""

    def __init__(
        self,
        name: str,
        shipped: str,
        folder: Path,
        guard: Guard,
        account: Account | None,
        *,
        port: int,
        targets: Mapping[str, Target],
        verifiers: Mapping[str, str],
        changes: Mapping[str, str] | None = None,
        program: str | None = None,
    ) -> None:
        super().__init__(name, "pooler", port, self._launch, self._answers)
        self.folder = folder
        self.targets = dict(targets)
        self._shipped = shipped
        self._guard = guard
        self._account = account
        self._changes = dict(changes or {})
        self._program = program or find_program("pgbouncer")
        private_folder(folder, account)
        users = "".join(f'"{role}" "{verifier}"\n' for role, verifier in sorted(verifiers.items()))
        write_private(folder / "userlist.txt", users, account)
        write_private(folder / COMMON, self._shipped_text(COMMON), account)

    def point(self, targets: Mapping[str, Target]) -> None:
        """Lead the databases elsewhere: new transactions go there at once, running ones end where they began."""
        self.targets |= targets
        self._write()
        self.reload()

    def show(self, what: str, user: str, password: str) -> list[dict[str, str]]:
        """Ask the pooler about itself: CONFIG, POOLS, SERVERS, DATABASES … (for `stats_users`); blocks.

        By psql, as the pooler's console knows the simple protocol only.
        """
        psql = postgres_programs(None, self.folder).folder / "psql"
        answer = subprocess.run(
            [psql, "--no-psqlrc", "--csv", "-c", f"SHOW {what}", "pgbouncer"],
            check=True,
            capture_output=True,
            text=True,
            timeout=10,
            env={"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": user, "PGPASSWORD": password},
        )
        return list(csv.DictReader(answer.stdout.splitlines()))

    def reload(self) -> None:
        """Let it read its files again."""
        if self.running is not None and not self.running.has_ended():
            self.running.process.send_signal(signal.SIGHUP)

    def _launch(self) -> Running:
        assert self._program, "pgbouncer is not installed: make twin-deps"
        return Program(
            self.name,
            [self._program, self._write()],
            log=self.folder / f"{self.name}.log",
            pid_file=self.folder / f"{self.name}.pid",
            # "Immediate": a lost pooler is replaced, its clients try again. SIGINT would wait for the last of them.
            stop_signal=signal.SIGTERM,
            account=self._account,
            folder=self.folder,
        ).start(self._guard)

    def _write(self) -> Path:
        """Put our addresses into the shipped file: it ends with the section of settings, whose last word counts."""
        ours = {"listen_addr": "127.0.0.1", "listen_port": str(self.port)} | self._changes
        databases = "".join(f"{name} = {target}\n" for name, target in self.targets.items())
        # The image's addresses mean nothing here, and looking for them would only fill the log.
        text = re.sub(r"^\w+ = host=.*\n", "", self._shipped_text(self._shipped), flags=re.MULTILINE)
        text = text.replace("[databases]\n", f"[databases]\n{databases}")
        text += "".join(f"{name} = {value}\n" for name, value in ours.items())
        write_private(self.folder / self._shipped, text, self._account)
        return self.folder / self._shipped

    def _shipped_text(self, name: str) -> str:
        return (CONFIGURATION / name).read_text().replace(IN_THE_IMAGE, f"{self.folder}/")

    async def _answers(self) -> bool:
        assert self.port is not None
        return is_answered(self.port)


async def verifiers_of(node: Node, names: tuple[str, ...]) -> dict[str, str]:
    """Read the SCRAM verifiers of these roles, as an operator does for `auth_file`."""
    async with node.connect(database="postgres") as connection:
        return await read_verifiers(connection, names)


async def read_verifiers(connection: asyncpg.Connection, names: tuple[str, ...]) -> dict[str, str]:
    """Read the SCRAM verifiers of these roles over a superuser's connection."""
    rows = await connection.fetch("SELECT rolname, rolpassword FROM pg_authid WHERE rolname = ANY($1)", list(names))
    return {row["rolname"]: row["rolpassword"] for row in rows}


def rw_targets(postgres: Postgres) -> dict[str, Target]:
    """Lead the database's name to the primary."""
    assert postgres.primary.port is not None
    return {roles.DATABASE: Target("127.0.0.1", postgres.primary.port, roles.DATABASE)}


def ro_targets(places: list[Node]) -> dict[str, Target]:
    """Lead one alias to each place."""
    return {
        f"telemed_replica_{place}": Target("127.0.0.1", node.port or 0, roles.DATABASE)
        for place, node in enumerate(places, start=1)
    }
