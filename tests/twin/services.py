"""The application: two processes of each service and two workers, as the rendered chart starts and ends them.

Arguments, settings, probes and grace are read from charts/telemed as Helm renders it; what differs is written here.
"""

import functools
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
from tests.pods.rendered import Chart, PodTemplate
from tests.twin.member import Kind, Member
from tests.twin.ports import Ports

from telemed.local.processes import Guard, Program, Running

SERVICES_FOLDER = Path(__file__).parents[2] / "services"
SERVICES = ("auth", "booking", "consultation")
COPIES = 2
# What cannot be as in a cluster: demo data are wanted, tests sign tokens with the shared secret, and all listen here.
OTHERWISE = {"ENVIRONMENT": "local", "JWT_ALGORITHM": "HS256", "HOST": "127.0.0.1"}


@functools.cache
def template(role: str) -> PodTemplate:
    """Give the pod of a component, as the chart with its default values describes it."""
    return Chart({"settings": {"JWT_ALGORITHM": "HS256"}}).rollout(role).template


def rendered_settings(role: str) -> dict[str, str]:
    """Give what the chart sets in plain text; Secrets, ports and addresses are the twin's own."""
    plain = (one for one in template(role).container["env"] if "value" in one)
    return {one["name"]: str(one["value"]) for one in plain} | OTHERWISE


class TelemedMember(Member):
    """One `telemed serve …` or `telemed work`, restartable at the same ports."""

    def __init__(self, name: str, folder: Path, guard: Guard, ports: Ports, environment: Mapping[str, str]) -> None:
        port, probes = ports.take(2)
        self.role = name.rpartition("-")[0]
        is_worker = self.role == "worker"
        kind: Kind = "worker" if is_worker else "service"
        super().__init__(name, kind, None if is_worker else port, self._launch, self._answers, probes=probes)
        own = {"PORT": str(port), "MANAGEMENT_PORT": str(probes)}
        self.environment = rendered_settings(self.role) | dict(environment) | own
        self._folder = folder
        self._guard = guard

    def _launch(self) -> Running:
        arguments = template(self.role).command(self.environment)[1:]
        return Program(
            self.name,
            [sys.executable, "-m", "telemed.cli", *arguments],
            log=self._folder / f"{self.name}.log",
            pid_file=self._folder / f"{self.name}.pid",
            environment=application_environment(self.environment),
            folder=self._folder,  # the checkout may hold the address of a platform that somebody else runs
        ).start(self._guard)

    async def stop(self, within_seconds: float | None = None) -> None:
        """End it in order, within the grace that the chart gives it."""
        await super().stop(template(self.role).grace_seconds if within_seconds is None else within_seconds)

    @property
    def _path(self) -> str:
        readiness = template(self.role).probe("readiness")
        assert readiness is not None
        return readiness.path

    async def _answers(self) -> bool:
        try:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"http://127.0.0.1:{self.probes}{self._path}", timeout=1)).status_code == 200
        except httpx.TransportError:
            return False


def application_environment(values: Mapping[str, str]) -> dict[str, str]:
    """Add what a process needs of its machine; nothing else of ours reaches it."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return inherited | {"PYTHONPATH": str(SERVICES_FOLDER)} | dict(values)


def service_members(folder: Path, guard: Guard, ports: Ports, environment: Mapping[str, str]) -> list[TelemedMember]:
    """Name the eight processes of the application; nothing is started yet."""
    names = [f"{role}-{copy}" for role in (*SERVICES, "worker") for copy in range(1, COPIES + 1)]
    return [TelemedMember(name, folder, guard, ports, environment) for name in names]
