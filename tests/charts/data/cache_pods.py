"""Pods of the cache as processes: the chart's own scripts and files, real servers, an address of 127/8 for each pod.

What a pod would have around it is made of small programs in its PATH: `valkey-server` listens on the pod's address,
`getent` knows the names that the cluster's DNS would, and `valkey-cli`, which the wheel of Valkey lacks, is ours.
"""

import contextlib
import json
import os
import random
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.charts.data.commands import send
from tests.charts.rendering import render_objects
from tests.servers import server_folder

from telemed.local.binaries import valkey_program
from telemed.local.processes import Guard, Program, Running

PASSWORD = 'a "quoted" \\ password'
# Asked five times a round by each of six pods: without a process of its own.
_GETENT = """
while read -r name address; do
    [ "$name" != "$2" ] || { echo "$address $2"; exit 0; }
done < "$NAMES"
exit 2
"""


@dataclass
class Pod:
    """One pod of a StatefulSet. Its name is for life; address and data are those of its present incarnation."""

    name: str
    address: str
    start: str  # the script of its main container
    namespace: "Namespace"
    has_tender: bool = False
    running: dict[str, Running] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.namespace.folder / self.name / "data"

    def begin(self, *, address: str | None = None, keeps_data: bool = False) -> None:
        """Let the kubelet start it: perhaps elsewhere, and without data unless only its containers start again."""
        self.address = address or self.address
        if not keeps_data:
            shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(parents=True, exist_ok=True)
        self.namespace.tell_names()
        for script in (self.start, "tend.sh")[: 1 + self.has_tender]:
            self.running[script] = self._program(script).start(self.namespace.guard)

    def delete(self) -> None:
        """Take it away in order: SIGTERM, and time to hand over."""
        for running in reversed(self.running.values()):
            running.stop(within_seconds=20)
        self.running.clear()

    def kill(self) -> None:
        """Take it away as a lost machine is."""
        for running in self.running.values():
            running.process.kill()
            running.stop()
        self.running.clear()

    def ask(self, *words: str, port: int = 6379) -> str:
        """Return what it answers.

        Raises:
            OSError: it does not.
        """
        return send(self.address, port, PASSWORD, list(words)).strip()

    def is_ready(self) -> bool:
        """Ask its readiness probe."""
        return bool(self.running) and self._run("sh", str(self.namespace.config / "ready.sh")).returncode == 0

    def is_primary(self) -> bool:
        with contextlib.suppress(OSError):
            return "role:master" in self.ask("info", "replication")
        return False

    def log(self) -> str:
        return "".join(running.last_words() for running in self.running.values())

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=30, check=False, env=dict(self._environment())
        )

    def _program(self, script: str) -> Program:
        folder = self.namespace.folder / self.name
        return Program(
            f"{self.name}-{script}",
            ["sh", self.namespace.config / script],
            log=folder / f"{script}.log",
            pid_file=folder / f"{script}.pid",
            environment=self._environment(),
            folder=self.data,
        )

    def _environment(self) -> Mapping[str, str]:
        return {
            **self.namespace.environment,
            "POD_NAME": self.name,
            "POD_IP": self.address,
            "DATA": str(self.data),
        }


@dataclass
class Namespace:
    """What the pods have in common: the ConfigMap's files, the DNS, a piece of 127/8."""

    folder: Path
    guard: Guard
    environment: dict[str, str]
    pods: list[Pod] = field(default_factory=list)
    # Names that are not in the DNS, though their pods are there: it takes its time.
    unknown: set[str] = field(default_factory=set)
    more_names: dict[str, str] = field(default_factory=dict)
    _block: str = field(default_factory=lambda: f"127.{random.randint(2, 250)}.{random.randint(1, 250)}")  # noqa: S311
    _last: int = 0

    @property
    def config(self) -> Path:
        return self.folder / "config"

    def new_address(self) -> str:
        """Give an address that no pod ever had."""
        self._last += 1
        return f"{self._block}.{self._last}"

    def tell_names(self) -> None:
        """Let the DNS know where everybody is now."""
        lines = [
            f"{pod.name}.{self.environment['NODES']} {pod.address}\n"
            for pod in self.pods
            if pod.name not in self.unknown
        ]
        lines += [f"{name} {address}\n" for name, address in self.more_names.items()]
        changed = self.folder / "names.new"
        changed.write_text("".join(lines))
        changed.rename(self.folder / "names")


@contextlib.contextmanager
def namespace(mode: str, **environment: str) -> Iterator[Namespace]:
    """Lend a namespace with the files that the chart renders for this mode, and nobody in it yet."""
    objects = render_objects("telemed-data", {"cache": {"mode": mode, "maxMemory": "32mb"}})
    (files,) = (item["data"] for item in objects if item["kind"] == "ConfigMap")
    with server_folder("telemed-cache-") as (folder, guard):
        config, programs = folder / "config", folder / "bin"
        config.mkdir()
        programs.mkdir()
        for name, text in files.items():
            (config / name).write_text(text)
        (folder / "names").touch()
        server = shlex.quote(str(valkey_program(None, folder / "programs")))
        _script(programs / "valkey-server", f'exec {server} "$@" --bind "$POD_IP"')
        _script(programs / "valkey-sentinel", f'exec {server} "$@" --sentinel --bind "$POD_IP"')
        _script(programs / "getent", _GETENT)
        shutil.copy(Path(__file__).with_name("valkey-cli.sh"), programs / "valkey-cli")
        lent = Namespace(folder, guard, _environment(folder, objects, environment))
        try:
            yield lent
        finally:
            for pod in lent.pods:
                pod.kill()


def _environment(folder: Path, objects: list[dict[str, Any]], changes: Mapping[str, str]) -> dict[str, str]:
    """Give what the rendered container has, in literal values, and what stands around it here."""
    (cache,) = (
        item for item in objects if item["kind"] == "StatefulSet" and item["metadata"]["name"] == "telemed-data-cache"
    )
    given = cache["spec"]["template"]["spec"]["containers"][0]["env"]
    literal = {variable["name"]: variable["value"] for variable in given if "value" in variable}
    secret = {variable["name"]: PASSWORD for variable in given if "secretKeyRef" in variable.get("valueFrom", {})}
    return {
        "LC_ALL": "C",
        **literal,
        **secret,
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        "CONFIG": f"{folder}/config",
        "NAMES": f"{folder}/names",
        "EVERY_SECONDS": "0.3",
        **changes,
    }


def _script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def values_of(pods: list[Pod], keys: Mapping[str, str]) -> dict[str, str]:
    """Read all keys, each where it is; those that are gone are left out."""
    found = {}
    for key in keys:
        for pod in pods:
            with contextlib.suppress(OSError):
                answer = pod.ask("get", key)
                if answer and not answer.startswith(("MOVED", "CLUSTERDOWN")):
                    found[key] = json.loads(answer)
                    break
    return found
