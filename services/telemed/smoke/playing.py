"""Plays the journey once, from the cast to the taking back."""

import os
from collections.abc import Callable

from telemed.kernel.settings import SettingsProblem, load_settings
from telemed.smoke.cast import Cast, cast_from_database, cast_of_given_doctor
from telemed.smoke.client import Address
from telemed.smoke.ears import Ears
from telemed.smoke.failure import Failure, Stopped
from telemed.smoke.journey import Journey
from telemed.smoke.run import Run


def play(addresses: dict[str, Address], run: Run, ears: Ears, cast: Callable[[], Cast]) -> str | None:
    """Play the journey and take back what is left of it; give what is wrong in one sentence, or None.

    The taking back is bounded, and nothing but SIGKILL stops it.
    """
    problem = None
    try:
        with ears.opened():
            Journey(addresses, cast(), run).play()
    except (Failure, Stopped) as failure:
        problem = str(failure).rstrip(".")
    finally:
        left = run.clean_up()
    if left:
        problem = f"{problem}; left behind for the next run: {', '.join(left)}"
    return f"{problem}." if problem and not problem.endswith("?") else problem


def cast_of_this_deployment(run: Run) -> Cast:
    """Give everybody: with the doctor that SMOKE_DOCTOR_EMAIL names, or with the one in the database, as a step.

    Raises:
        SettingsProblem: a variable of the environment is missing or wrong.
        Failure: the database does not do its part.
    """
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
