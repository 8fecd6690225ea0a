"""Runs pgbench, in the place and on the core of the service that is measured against it."""

import asyncio
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.results import BenchProblem
from bench.stage import Servers, served_core, starting_on
from telemed.local.binaries import postgres_programs

_TPS = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)
_DONE = re.compile(r"^number of transactions actually processed: (\d+)", re.MULTILINE)
_FAILED = re.compile(r"^number of failed transactions: (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Pgbench:
    """One script for one database."""

    up: Servers
    url: str
    script: str
    mode: str = "prepared"

    async def run(
        self, *, clients: int, transactions: int | None = None, seconds: float = 0, **variables: int
    ) -> float:
        """Run so many transactions for each client, or so many seconds; give transactions a second.

        Raises:
            BenchProblem: one of them failed.
        """
        file = self.up.folder / f"pgbench-{abs(hash(self.script))}.sql"
        file.write_text(self.script)
        address = urlsplit(self.url)
        program = postgres_programs(None, self.up.folder).folder / "pgbench"
        length = ("-t", transactions) if transactions else ("-T", max(1, round(seconds)))
        command = (
            *(program, "--no-vacuum", "-M", self.mode, "-c", clients, "-j", 1, *length, "-f", file),
            *(part for name, value in variables.items() for part in ("-D", f"{name}={value}")),
            *("-h", address.hostname, "-p", address.port, "-U", address.username, address.path.lstrip("/")),
        )
        with starting_on(served_core()):
            process = await asyncio.create_subprocess_exec(
                *(str(part) for part in command),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={"PGPASSWORD": address.password or "", "PATH": "/usr/bin:/bin"},
            )
        output, errors = (part.decode() for part in await process.communicate())
        return _read(output, errors, process.returncode, clients * transactions if transactions else None)


def _read(output: str, errors: str, code: int | None, wanted: int | None) -> float:
    tps, done, failed = _TPS.search(output), _DONE.search(output), _FAILED.search(output)
    if code != 0 or tps is None or done is None or (failed is not None and int(failed[1])):
        raise BenchProblem(f"pgbench failed: {errors[-600:] or output[-600:]}")
    if wanted is not None and int(done[1]) != wanted:
        raise BenchProblem(f"pgbench did {done[1]} of {wanted} transactions: {errors[-600:]}")
    return float(tps[1])
