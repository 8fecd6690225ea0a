"""`telemed smoke`: says what it does, ends with 0 or 1, and leaves nothing behind."""

from typing import Annotated

import typer

from telemed.kernel.clock import SystemClock
from telemed.kernel.telemetry.logs import configure_logs
from telemed.smoke.client import Address
from telemed.smoke.ears import listening
from telemed.smoke.playing import cast_of_this_deployment, play
from telemed.smoke.run import Run


def smoke(
    auth: Annotated[str, typer.Option(help="Address of auth, for example http://auth:3000.")],
    booking: Annotated[str, typer.Option(help="Address of booking.")],
    consultation: Annotated[str, typer.Option(help="Address of consultation.")],
    timeout_seconds: Annotated[int, typer.Option(min=5, max=300, help="How long the journey may take.")] = 60,
) -> None:
    """Prove a running platform by a journey of synthetic people, which is taken back.

    The doctor's account is made in the database; where that cannot be reached from here, SMOKE_DOCTOR_EMAIL and
    SMOKE_DOCTOR_PASSWORD name one.
    """
    addresses = Address.of_all(auth=auth, booking=booking, consultation=consultation)
    configure_logs(level="ERROR", service="smoke")
    run = Run(typer.echo, timeout_seconds, SystemClock())
    ending = _play(addresses, run)
    if ending is not None:
        typer.echo(f"telemed: {ending}", err=True)
        raise typer.Exit(1)
    typer.echo(f"The platform works: {run.steps} steps in {run.elapsed():.1f} s.")


def _play(addresses: dict[str, Address], run: Run) -> str | None:
    """Play the journey and take back what is left of it; give what is wrong in one sentence, or None."""
    with listening() as ears:
        return play(addresses, run, ears, lambda: cast_of_this_deployment(run))
