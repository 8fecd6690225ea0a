"""A primary of Valkey with a replica and three sentinels on 127.0.0.1."""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from tests import servers
from tests.support.redis_nodes import RedisNode, free_ports

from telemed.local.account import server_account
from telemed.local.binaries import valkey_program
from telemed.local.processes import wait_until

SERVICE = "clinic"
# How long a sentinel waits for an answer before it calls the primary dead.
DOWN_AFTER_MS = 1_000
SETTLE_WITHIN_SECONDS = 30.0


@dataclass(frozen=True)
class SentinelSet:
    """The servers; the first of *servers* begins as the primary."""

    servers: tuple[RedisNode, ...]
    sentinels: tuple[RedisNode, ...]
    password: str

    @property
    def url(self) -> str:
        """The value of REDIS_URL."""
        hosts = ",".join(sentinel.address for sentinel in self.sentinels)
        return f"redis+sentinel://:{self.password}@{hosts}/{SERVICE}"

    def is_primary(self, server: RedisNode) -> bool:
        """Tell whether it answers as a primary."""
        try:
            return "role:master" in server.command("INFO", "replication")
        except OSError:
            return False

    def is_settled(self) -> bool:
        """Tell whether all know each other and the replica is linked."""
        try:
            links = [server.command("INFO", "replication") for server in self.servers[1:]]
            known = [sentinel.command("INFO", "sentinel") for sentinel in self.sentinels]
        except OSError:
            return False
        return all("master_link_status:up" in link for link in links) and all(
            f"slaves={len(self.servers) - 1},sentinels={len(self.sentinels)}" in text for text in known
        )


@contextlib.contextmanager
def own_sentinels() -> Iterator[SentinelSet]:
    """Lend a primary, a replica and three sentinels; they are gone afterwards, whatever was done to them."""
    with servers.server_folder("telemed-sentinels-") as (folder, guard):
        account, password = server_account(), secrets.token_urlsafe(18)
        program = valkey_program(account, folder / "programs")
        first, second, *watching = free_ports(5)
        stored = [f"masterauth {password}", 'save ""', "appendonly no", "repl-diskless-sync-delay 0"]
        watched = [
            f"sentinel monitor {SERVICE} 127.0.0.1 {first} 2",
            f"sentinel auth-pass {SERVICE} {password}",
            f"sentinel sentinel-pass {password}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} 5000",
        ]
        nodes = [
            RedisNode("primary", folder / "primary", first, password, guard, program, account, stored),
            RedisNode(
                "replica",
                folder / "replica",
                second,
                password,
                guard,
                program,
                account,
                [*stored, f"replicaof 127.0.0.1 {first}"],
            ),
            *(
                RedisNode(
                    f"sentinel-{port}",
                    folder / f"sentinel-{port}",
                    port,
                    password,
                    guard,
                    program,
                    account,
                    watched,
                    is_sentinel=True,
                )
                for port in watching
            ),
        ]
        for node in nodes:
            node.start()
        lent = SentinelSet((nodes[0], nodes[1]), tuple(nodes[2:]), password)
        try:
            assert wait_until(lent.is_settled, SETTLE_WITHIN_SECONDS, pause_seconds=0.1)
            yield lent
        finally:
            for node in nodes:
                node.stop()
