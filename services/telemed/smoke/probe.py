"""`telemed probe`: the journey again and again, from wherever a patient might come; seen in metrics, ended by SIGTERM.

Nothing that the platform does ends it: a service that is down is what it is there to see.
"""

import time
from typing import Annotated, Literal

import typer

from telemed.kernel.clock import Clock, SystemClock
from telemed.kernel.telemetry.logs import configure_logs, get_logger
from telemed.smoke.cast import Cast
from telemed.smoke.client import Address
from telemed.smoke.ears import Ears, listening
from telemed.smoke.failure import Stopped
from telemed.smoke.management import answering
from telemed.smoke.playing import cast_of_this_deployment, play
from telemed.smoke.probe_metrics import ProbeMetrics
from telemed.smoke.run import PROBE, Run

log = get_logger("probe")


def probe(
    auth: Annotated[str, typer.Option(help="Address of auth, for example https://telemed.example.com.")],
    booking: Annotated[str, typer.Option(help="Address of booking; the gateway's is that of all three.")],
    consultation: Annotated[str, typer.Option(help="Address of consultation.")],
    every_seconds: Annotated[int, typer.Option(min=1, max=3600, help="From one journey's beginning to the next.")] = 60,
    timeout_seconds: Annotated[int, typer.Option(min=5, max=300, help="How long one journey may take.")] = 45,
    host: Annotated[str, typer.Option(envvar="HOST", help="Where /livez and /metrics are shown.")] = "127.0.0.1",
    management_port: Annotated[
        int | None, typer.Option(envvar="MANAGEMENT_PORT", min=1, max=65535, help="Their port; not shown without it.")
    ] = None,
) -> None:
    """Try the platform from outside for ever: synthetic people book, cancel and leave; /metrics says how it went.

    The doctor's account is made in the database; where that cannot be reached from here, SMOKE_DOCTOR_EMAIL and
    SMOKE_DOCTOR_PASSWORD name one.
    """
    addresses = Address.of_all(auth=auth, booking=booking, consultation=consultation)
    configure_logs(level="INFO", service="probe")
    metrics = ProbeMetrics()
    with listening() as ears, answering(host, management_port, metrics.registry):
        traveller = Traveller(addresses, metrics, ears, timeout_seconds, SystemClock())
        log.info("probe.started", every_seconds=every_seconds)
        while ears.told is None:
            began = time.monotonic()
            traveller.travel()
            rest(ears, began + every_seconds)
    log.info("probe.stopped", signal=ears.told)


def rest(ears: Ears, until: float) -> None:
    """Do nothing until the monotonic clock says *until*, or until somebody says stop."""
    try:
        with ears.opened():
            time.sleep(max(0.0, until - time.monotonic()))
    except Stopped:
        return


class Traveller:
    """Makes journeys, one after the other, and counts them. One that is told to stop counts as neither."""

    def __init__(
        self, addresses: dict[str, Address], metrics: ProbeMetrics, ears: Ears, timeout_seconds: float, clock: Clock
    ) -> None:
        self._addresses = addresses
        self._metrics = metrics
        self._ears = ears
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._cast: Cast | None = None

    def travel(self) -> None:
        """Make one journey, and take back what it made."""
        run = Run(
            _nobody_reads,
            self._timeout_seconds,
            self._clock,
            product=PROBE,
            measured=lambda step, seconds: self._metrics.steps.labels(step).observe(seconds),
        )
        problem = play(self._addresses, run, self._ears, lambda: self._known_cast(run))
        seconds = round(run.elapsed(), 3)
        if problem is None:
            self._metrics.succeeded.set(self._clock.now().timestamp())
            self._count("held")
            log.info("journey.held", steps=run.steps, seconds=seconds)
        elif self._ears.told is None:
            self._cast = None  # it may be the account that is wrong: whoever made the database anew took it away
            self._count("failed")
            log.warning("journey.failed", problem=problem, seconds=seconds)
        else:
            log.info("journey.stopped", problem=problem, seconds=seconds)

    def _count(self, outcome: Literal["held", "failed"]) -> None:
        self._metrics.journeys.labels(outcome).inc()

    def _known_cast(self, run: Run) -> Cast:
        """Ask the database while journeys fail, and not again while they hold: they need nothing else of it."""
        if self._cast is None:
            self._cast = cast_of_this_deployment(run)
        return self._cast


def _nobody_reads(_line: str) -> None:
    """Drop the line of a step: metrics have its time, and the log its failure."""
