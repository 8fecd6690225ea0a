"""`telemed smoke`: says what it does, ends with 0 or 1, and leaves nothing behind."""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Annotated

import typer

from telemed.kernel.clock import SystemClock
from telemed.kernel.settings import SettingsProblem, load_settings
from telemed.kernel.telemetry.logs import configure_logs
from telemed.smoke.cast import Cast, cast_from_database, cast_of_given_doctor
from telemed.smoke.client import Address
from telemed.smoke.failure import Failure, Stopped
from telemed.smoke.journey import Journey
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
    given = {"auth": auth, "booking": booking, "consultation": consultation}
    addresses = {name: Address.of(name, text) for name, text in given.items()}
    configure_logs(level="ERROR", service="smoke")
    run = Run(typer.echo, timeout_seconds, SystemClock())
    ending = _play(addresses, run)
    if ending is not None:
        typer.echo(f"telemed: {ending}", err=True)
        raise typer.Exit(1)
    typer.echo(f"The platform works: {run.steps} steps in {run.elapsed():.1f} s.")


def _play(addresses: dict[str, Address], run: Run) -> str | None:
    """Play the journey and take back what is left of it; give what is wrong in one sentence, or None."""
    problem = None
    with _told_to_stop() as ears:
        try:
            Journey(addresses, _cast(run), run).play()
        except (Failure, Stopped) as failure:
            problem = str(failure).rstrip(".")
        finally:
            ears.are_open = False  # the taking back is bounded, and nothing but SIGKILL stops it
            left = run.clean_up()
    if left:
        problem = f"{problem}; left behind for the next run: {', '.join(left)}"
    return f"{problem}." if problem and not problem.endswith("?") else problem


def _cast(run: Run) -> Cast:
    email, password = (os.environ.get(name, "") for name in ("SMOKE_DOCTOR_EMAIL", "SMOKE_DOCTOR_PASSWORD"))
    if bool(email) != bool(password):
        raise SettingsProblem("SMOKE_DOCTOR_EMAIL and SMOKE_DOCTOR_PASSWORD belong together; one of them is missing.")
    if email:
        return cast_of_given_doctor(email, password)
    settings = load_settings()
    with run.step("the database has the doctor's account"):
        try:
            return cast_from_database(settings)
        except SettingsProblem as problem:
            raise Failure(str(problem)) from problem


@dataclass
class _Ears:
    are_open: bool = True


@contextlib.contextmanager
def _told_to_stop() -> Iterator[_Ears]:
    """Let SIGTERM and SIGINT end the journey where it stands, so that it can be taken back."""
    ears = _Ears()

    def stop(number: int, _: FrameType | None) -> None:
        if ears.are_open:
            ears.are_open = False
            raise Stopped(f"stopped by {signal.Signals(number).name}")

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield ears
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
