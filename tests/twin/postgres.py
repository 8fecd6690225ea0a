"""PostgreSQL as in the cluster: a primary and two streaming replicas, of which one must confirm every commit.

Every node keeps its name, folder and port for life; which of them is the primary changes. Nothing here decides when:
that is the warden's.
"""

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from tests.support.waiting import until
from tests.twin.member import Member
from tests.twin.ports import Ports

from telemed.local import roles
from telemed.local.account import Account, private_folder, server_account, write_private
from telemed.local.binaries import PostgresPrograms, postgres_programs
from telemed.local.postgres import SUPERUSER, start_postgres
from telemed.local.processes import Guard, Running, run_as

NAMES = ("pg-0", "pg-1", "pg-2")
REPLICATOR = "telemed_replication"
MONITOR = "telemed_monitor"  # looks at the poolers (SHOW POOLS) and at statistics, changes nothing
STANDBYS = ", ".join(f'"{name}"' for name in NAMES)

SETTINGS = {
    "max_connections": "120",
    "shared_buffers": "48MB",
    "wal_level": "replica",
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    "hot_standby": "on",
    # What was hidden from a replica for a while is still there when it comes back, also on a server that was a
    # replica itself until just now; and a replica that never comes back does not fill the disk.
    "wal_keep_size": "256MB",
    "max_slot_wal_keep_size": "512MB",
    # How soon a replica looks for its new primary; the default of 5 s would be most of a failover.
    "wal_retrieve_retry_interval": "200ms",
    "wal_receiver_status_interval": "1s",
    "wal_receiver_timeout": "5s",
    "wal_sender_timeout": "5s",
    # Reads of a replica are short; replay waits for them no longer than this.
    "max_standby_streaming_delay": "2s",
    "log_line_prefix": "%m [%p] %u@%a ",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
}

# Settings that drills take away. In postgresql.auto.conf, so that a drill can also change them while it runs; the same
# on every node, so that a replica that is promoted asks for its quorum from its first commit on. A server is never
# its own standby: of three names there are two others.
GUARDS = {"synchronous_commit": "on", "synchronous_standby_names": f"ANY 1 ({STANDBYS})"}


class Node(Member):
    """One PostgreSQL server."""

    def __init__(self, name: str, folder: Path, port: int, guard: Guard, passwords: dict[str, str]) -> None:
        super().__init__(name, "postgres", port, self._launch, self._answers)
        self.folder = folder
        self._guard = guard
        self._passwords = passwords
        self.settings = SETTINGS | {"cluster_name": name}

    def dsn(self, role: str = "superuser", database: str = roles.DATABASE) -> str:
        """Address of this very server, past every pooler; roles: superuser, or those of `telemed.local.roles`."""
        user = SUPERUSER if role == "superuser" else role
        return f"postgresql://{user}:{self._passwords[role]}@127.0.0.1:{self.port}/{database}"

    @contextlib.asynccontextmanager
    async def connect(
        self, role: str = "superuser", *, database: str = roles.DATABASE, within_seconds: float = 5.0
    ) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection to this very server. *within_seconds* bounds the connecting and each statement."""
        connection = await asyncpg.connect(
            self.dsn(role, database), timeout=within_seconds, command_timeout=within_seconds, statement_cache_size=0
        )
        try:
            yield connection
        finally:
            # Never waits for a server that hangs.
            connection.terminate()

    async def execute(self, *statements: str) -> None:
        """Run each statement by itself (ALTER SYSTEM refuses a transaction), then reload the configuration."""
        async with self.connect(database="postgres") as connection:
            for statement in statements:
                await connection.execute(statement)
            await connection.execute("SELECT pg_reload_conf()")

    async def pause_replay(self) -> None:
        """Let the replica receive and confirm, but show nothing new."""
        await self.execute("SELECT pg_wal_replay_pause()")

    async def resume_replay(self) -> None:
        """Let the replica show what it has received."""
        await self.execute("SELECT pg_wal_replay_resume()")

    async def delay_replay(self, seconds: float) -> None:
        """Show every commit this late; 0 ends it. What was received is confirmed all the same."""
        await self.execute(f"ALTER SYSTEM SET recovery_min_apply_delay = '{round(seconds * 1000)}ms'")

    def _launch(self) -> Running:
        server = start_postgres(self.folder, self._guard, self.settings)
        assert server.port == self.port, f"{self.name} lost its port {self.port} to somebody else"
        self._passwords["superuser"] = server.password
        return server.running

    async def _answers(self) -> bool:
        try:
            async with self.connect(database="postgres", within_seconds=2) as connection:
                return bool(await connection.fetchval("SELECT true"))
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False


@dataclass
class Postgres:
    """The three nodes, and who is what among them."""

    nodes: tuple[Node, ...]
    primary: Node
    # By place: the ro pooler has one alias for each. A promoted replica leaves its place to the old primary.
    replicas: list[Node]
    programs: PostgresPrograms
    account: Account | None
    passwords: Mapping[str, str]

    async def promote(self, replica: Node) -> None:
        """Make the replica the primary; returns when it accepts writes. The others still follow the old one."""
        async with replica.connect(database="postgres", within_seconds=30) as connection:
            # One that is a primary already is none the less: an earlier promotion may have been slow.
            done = await connection.fetchval(
                "SELECT CASE WHEN pg_is_in_recovery() THEN pg_promote(true, 25) ELSE true END"
            )
            assert done, f"{replica.name} was not promoted"
        place = self.replicas.index(replica)
        self.primary, self.replicas[place] = replica, self.primary

    async def follow(self, replica: Node, primary: Node) -> None:
        """Let a running replica stream from another primary: changes a setting, restarts nothing."""
        await _ensure_slot(primary, replica.name)
        await replica.execute(
            f"ALTER SYSTEM SET primary_conninfo = '{self._conninfo(primary, replica)}'",
            f"ALTER SYSTEM SET primary_slot_name = '{_slot(replica.name)}'",
        )

    async def unfollow(self, replica: Node) -> None:
        """Cut the replica from whatever it follows; returns when nothing is received any more."""
        await replica.execute("ALTER SYSTEM SET primary_conninfo = ''")
        async with replica.connect(database="postgres", within_seconds=5) as connection:

            async def receives_nothing() -> bool:
                query = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'walreceiver')"
                return bool(await connection.fetchval(query))

            await until(receives_nothing, within_seconds=5)

    async def rejoin(self, node: Node, primary: Node) -> None:
        """Bring a former primary back as a replica: rewound to where the histories part, or copied anew if that fails.

        Its process is ended first. What it alone had, nobody was promised: no standby had confirmed it.
        """
        await node.kill()
        await _ensure_slot(primary, node.name)
        if not await asyncio.to_thread(self._rewind, node, primary):
            await asyncio.to_thread(self._copy, node, primary)
        await node.start()
        async with node.connect(database="postgres") as connection:
            # Slots of its time as primary would hold back its own log for ever.
            await connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")

    def clone(self, node: Node, primary: Node) -> None:
        """Make the folder of a replica that never ran."""
        private_folder(node.folder, self.account)
        write_private(node.folder / "superuser.password", self.passwords["superuser"], self.account)
        write_private(node.folder / "port", str(node.port), self.account)
        self._copy(node, primary)

    def _rewind(self, node: Node, primary: Node) -> bool:
        data = node.folder / "data"
        source = f"{primary.dsn(database='postgres')}"
        # pg_rewind wants a server that was shut down in order; one that was killed is recovered by a single-user
        # start, which pg_rewind does itself.
        answer = self._run("pg_rewind", "-D", data, f"--source-server={source}")
        if answer.returncode != 0:
            return False
        self._make_standby(node, primary)
        return True

    def _copy(self, node: Node, primary: Node) -> None:
        data = node.folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        answer = self._run(
            *("pg_basebackup", "-D", data, "-X", "stream", "-c", "fast", "-d"),
            f"postgresql://{REPLICATOR}:{self.passwords[REPLICATOR]}@127.0.0.1:{primary.port}/",
        )
        assert answer.returncode == 0, answer.stderr
        self._make_standby(node, primary)

    def _make_standby(self, node: Node, primary: Node) -> None:
        # Both files may be the primary's: the last word for a setting counts.
        configuration = node.folder / "data" / "postgresql.auto.conf"
        lines = (
            f"primary_conninfo = '{self._conninfo(primary, node)}'",
            f"primary_slot_name = '{_slot(node.name)}'",
        )
        text = configuration.read_text() + "\n".join(lines) + "\n"
        write_private(configuration, text, self.account)
        write_private(node.folder / "data" / "standby.signal", "", self.account)

    def _conninfo(self, primary: Node, replica: Node) -> str:
        return (
            f"host=127.0.0.1 port={primary.port} user={REPLICATOR} password={self.passwords[REPLICATOR]} "
            # By this name the primary counts it among those that confirm.
            f"application_name={replica.name} connect_timeout=2"
        )

    def _run(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.programs.folder / program, *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
            timeout=120,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            start_new_session=True,
            **run_as(self.account),
        )


async def start_cluster(
    folder: Path,
    guard: Guard,
    ports: Ports,
    passwords: Mapping[str, str],
    guards: Mapping[str, str],
    server_settings: Mapping[str, str],
) -> Postgres:
    """Start primary and replicas, with the platform's roles and an empty database.

    *passwords* has one for each role, REPLICATOR and MONITOR. *guards* replaces values of GUARDS, *server_settings*
    those of SETTINGS.
    """
    account = await asyncio.to_thread(server_account)
    all_passwords = dict(passwords)
    nodes = [
        Node(name, folder / name, port, guard, all_passwords)
        for name, port in zip(NAMES, ports.take(len(NAMES)), strict=True)
    ]
    for node in nodes:
        node.settings |= server_settings
    primary, *replicas = nodes
    private_folder(primary.folder, account)
    write_private(primary.folder / "port", str(primary.port), account)
    await primary.start()
    programs = await asyncio.to_thread(postgres_programs, account, primary.folder / "programs")
    cluster = Postgres(tuple(nodes), primary, replicas, programs, account, all_passwords)
    await _prepare(primary, passwords)
    for replica in replicas:
        await _ensure_slot(primary, replica.name)
        await asyncio.to_thread(cluster.clone, replica, primary)
    await asyncio.gather(*(replica.start() for replica in replicas))
    # Only now: with no standby there is nobody to confirm, and every commit would wait.
    await asyncio.gather(*(set_guards(node, GUARDS | dict(guards)) for node in nodes))
    return cluster


async def set_guards(node: Node, values: Mapping[str, str]) -> None:
    """Change settings of a running server, as ALTER SYSTEM does."""
    await node.execute(*(f"ALTER SYSTEM SET {name} = '{value}'" for name, value in values.items()))


async def _prepare(primary: Node, passwords: Mapping[str, str]) -> None:
    async with primary.connect(database="postgres", within_seconds=30) as superuser:
        await roles.prepare_roles(superuser, passwords)
        await roles.prepare_database(superuser)
        await superuser.execute(f"CREATE ROLE {REPLICATOR} LOGIN REPLICATION PASSWORD '{passwords[REPLICATOR]}'")
        await superuser.execute(f"CREATE ROLE {MONITOR} LOGIN PASSWORD '{passwords[MONITOR]}' IN ROLE pg_monitor")


async def _ensure_slot(primary: Node, replica: str) -> None:
    """Make the slot that keeps the primary's log until this replica has it."""
    async with primary.connect(database="postgres") as connection:
        await connection.execute(
            "SELECT pg_create_physical_replication_slot($1, true) "
            "WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)",
            _slot(replica),
        )


def _slot(name: str) -> str:
    return name.replace("-", "_")
