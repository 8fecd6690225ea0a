"""The gateway: HAProxy with the repository's own configuration, in front of two processes of each service."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
from tests.support.programs import find_program
from tests.support.waiting import until
from tests.twin.certificates import write_certificates
from tests.twin.member import Member
from tests.twin.ports import Ports

from telemed.local.account import Account, private_folder
from telemed.local.processes import Guard, Program, Running

CONFIGURATION = Path(__file__).parents[2] / "services" / "compose" / "haproxy" / "haproxy.cfg"


class Gateway(Member):
    """One HAProxy. It is told of *services* by their names: booking-1 is `BOOKING_1` in its configuration."""

    def __init__(
        self,
        folder: Path,
        guard: Guard,
        account: Account | None,
        ports: Ports,
        services: Sequence[Member],
        configuration: Path | None = None,
    ) -> None:
        https, management = ports.take(2)
        super().__init__("gateway", "gateway", https, self._launch, self._answers, probes=management)
        self.folder = private_folder(folder, account)
        # Clients read the authority's certificate, whoever they are.
        folder.chmod(0o711)
        certificate, self.ca_file = write_certificates(folder, account)
        # Drills take guards away by putting another configuration in its place.
        self.configuration = configuration or CONFIGURATION
        self._guard = guard
        self._account = account
        self._environment = {
            "GATEWAY_BIND": f"127.0.0.1:{https}",
            "GATEWAY_CERTIFICATE": str(certificate),
            "GATEWAY_MANAGEMENT": f"127.0.0.1:{management}",
        } | _addresses(services)

    @property
    def url(self) -> str:
        """Where clients come in."""
        return f"https://localhost:{self.port}"

    async def states(self) -> Mapping[str, str]:
        """Tell for each process whether the gateway sends requests there: UP, DOWN, or on the way between."""
        async with httpx.AsyncClient() as client:
            reply = await client.get(f"http://127.0.0.1:{self.probes}/stats;csv", timeout=2)
        rows = csv.DictReader(reply.text.removeprefix("# ").splitlines())
        return {row["svname"]: row["status"] for row in rows if row["svname"] not in {"FRONTEND", "BACKEND"}}

    async def sees(self, *names: str, state: str = "UP", within_seconds: float = 20.0) -> None:
        """Wait until the gateway sees all these processes in this state."""

        async def all_are() -> bool:
            states = await self.states()
            # A drill that has taken the checks away sees nothing; then nobody is waited for.
            return all(states[name] in {state, "no check"} for name in names)

        await until(all_are, within_seconds=within_seconds, pause_seconds=0.05)

    def _launch(self) -> Running:
        program = find_program("haproxy")
        assert program, "haproxy is not installed: make twin-deps"
        # Its account may not be able to read the checkout.
        copy = self.folder / "haproxy.cfg"
        copy.write_text(self.configuration.read_text())
        copy.chmod(0o644)
        return Program(
            self.name,
            [program, "-db", "-q", "-f", copy],
            log=self.folder / "gateway.log",
            pid_file=self.folder / "gateway.pid",
            account=self._account,
            environment=self._environment,
            folder=self.folder,
        ).start(self._guard)

    async def _answers(self) -> bool:
        try:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"http://127.0.0.1:{self.probes}/livez", timeout=1)).status_code == 200
        except httpx.TransportError:
            return False


def _addresses(services: Sequence[Member]) -> dict[str, str]:
    values: dict[str, str] = {}
    for service in services:
        name = service.name.upper().replace("-", "_")
        values |= {name: service.address, f"{name}_PROBES": str(service.probes)}
    return values
