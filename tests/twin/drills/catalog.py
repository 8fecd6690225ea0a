"""Every drill, and every guard that can be taken away to see a drill go red."""

from tests.twin.drills import caches_lost, clients_gone, crowds, reading, servers_lost, slowness
from tests.twin.drills.drill import Drill, Guard

DRILLS: dict[str, Drill] = {
    drill.name: drill
    for module in (servers_lost, clients_gone, slowness, reading, caches_lost, crowds)
    for drill in module.DRILLS
}
GATE = tuple(name for name, drill in DRILLS.items() if drill.in_gate)

GUARDS: dict[str, Guard] = {
    guard.name: guard
    for guard in (
        Guard(
            "synchronous-commit",
            "primary-killed",
            postgres={"synchronous_commit": "off", "synchronous_standby_names": ""},
        ),
        Guard("shield", "clients-gone", patch="shield"),
        Guard("token", "own-reads", drops_token=True),
        Guard("breaker", "primary-away", patch="breaker"),
    )
}
