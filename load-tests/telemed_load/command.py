"""The command line. Exit codes: 0 the gates were met, 1 missed, 2 the run is invalid or could not be made."""

import argparse
import fcntl
import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from telemed_load.arguments import positive, whole
from telemed_load.problems import LoadProblem
from telemed_load.profile import Profile, default_scale, lasting, load_profile
from telemed_load.results import RESULTS, require_writable
from telemed_load.run import Options, run
from telemed_load.shapes import Schedule
from telemed_load.wording import complain

INVALID = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    given = _parser().parse_args(arguments)
    # Like Ctrl-C: everything that was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        profile, mix = load_profile(given.profile)
        schedule = Schedule(_changed(profile, given), mix, given.scale or default_scale())
        options = Options(
            profile=given.profile,
            url=given.url or None,
            secret=given.secret,
            metrics=given.metrics,
            results=given.results,
            workers=given.workers,
            expect_workers=given.expect_workers,
            dsn=given.database or None,
            prints_json=given.print_json,
        )
        require_writable(options.results)
        with _one_at_a_time(options.results):
            return run(options, schedule)
    except LoadProblem as problem:
        complain(str(problem))
    except KeyboardInterrupt:
        complain("Stopped; there is no verdict.")
    except Exception:  # noqa: BLE001 - the interpreter's own exit code would be 1, which says that the platform missed
        traceback.print_exc()
    return INVALID


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m telemed_load", description=__doc__)
    parser.add_argument("--profile", default="day", help="A name in load-tests/profiles/, or a path.")
    parser.add_argument("--url", help="Where the platform is; else that of `make run`, or one of its own.")
    parser.add_argument("--scale", type=positive, help="Times the profile's rates; else 1, less on less than 2 cores.")
    parser.add_argument("--seconds", type=positive, help="Another length of the measured window.")
    parser.add_argument("--seed", type=int, help="Another seed: other arrivals.")
    parser.add_argument("--secret", type=_file, help="The platform's variables (.telemed/platform.env): mint tokens.")
    parser.add_argument("--database", help="Address of the owner of the tables, for the look afterwards.")
    parser.add_argument(
        "--metrics", action="append", default=[], metavar="URL", help="Of each process; else URL/metrics."
    )
    workers = parser.add_mutually_exclusive_group()  # those of this machine are met where no other one can come
    workers.add_argument("--workers", type=whole, default=0, help="Processes of this machine that share the load.")
    workers.add_argument("--expect-workers", type=whole, default=0, help="Workers of other machines to wait for.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="Folder for what comes of it.")
    parser.add_argument("--print-json", action="store_true", help="Print the verdict as JSON, too, last.")
    return parser


def _file(text: str) -> Path | None:
    return Path(text) if text else None


def _changed(profile: Profile, given: argparse.Namespace) -> Profile:
    """Give the profile with what the command line says instead."""
    if given.seed is not None:
        profile = profile.model_copy(update={"seed": given.seed})
    if given.seconds is not None:
        profile = lasting(profile, given.seconds)
    return profile


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Refuse a second load from here: two would measure one another."""
    with (folder / ".lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LoadProblem(f"Another load is running, whose results go to {folder} as well.") from None
        yield
