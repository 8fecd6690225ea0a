"""The worker's process: every job in a loop of its own, probes beside them, and an orderly end."""

import asyncio
import signal
from collections.abc import Sequence
from datetime import timedelta

from telemed.kernel.http.server import constraint_problems, opened, probes_served
from telemed.kernel.resources import Resources, open_resources
from telemed.kernel.service import Service
from telemed.kernel.settings import Settings
from telemed.kernel.telemetry.logs import configure_logs, get_logger
from telemed.worker.housekeeping import HOUSEKEEPING
from telemed.worker.loops import cut_short, repeat
from telemed.worker.months import MONTHS
from telemed.worker.relay import Relay
from telemed.worker.timelines import NOTE_TIMELINE

log = get_logger("worker")


async def work(services: Sequence[Service], settings: Settings) -> int:
    """Run the services' jobs until SIGTERM or SIGINT; then let what runs end, and return the exit code.

    Raises:
        SettingsProblem: the management port is in use.
    """
    configure_logs(level=settings.log_level, service="worker")
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with (
        open_resources(
            settings,
            constraint_problems=constraint_problems(services),
            database=settings.worker_database,
            watched=True,
            service="worker",
        ) as resources,
        # Only who subscribes to events needs parts here. Auth's would ask for the signing key, which auth alone holds.
        opened([service for service in services if service.subscriptions], resources),
        probes_served(resources),
    ):
        await run_jobs(services, resources, stopping)
    log.info("worker.stopped")
    return 0


async def run_jobs(services: Sequence[Service], resources: Resources, stopping: asyncio.Event) -> None:
    """Run everything until *stopping* is set, and then at most the grace period longer."""
    relay = Relay(resources, [subscription for service in services for subscription in service.subscriptions])
    jobs = [relay.job(), NOTE_TIMELINE, *HOUSEKEEPING, *MONTHS, *(job for service in services for job in service.jobs)]
    loops = {asyncio.create_task(repeat(job, resources, stopping), name=job.name) for job in jobs}
    log.info("worker.started", jobs=[job.name for job in jobs])
    await stopping.wait()
    resources.health.is_draining = True
    deadline = asyncio.get_running_loop().time() + resources.settings.shutdown_grace_seconds
    await asyncio.wait(loops, timeout=resources.settings.shutdown_grace_seconds)
    late = [task for task in loops if not task.done()]
    for task in late:
        # What it did not commit is as if it had never begun; the next worker does it.
        log.warning("job.cut_short", job=task.get_name())
    await cut_short(late)
    await relay.drain(timedelta(seconds=max(0.0, deadline - asyncio.get_running_loop().time())))
