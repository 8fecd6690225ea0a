"""The command line of the generator. Exit codes: 0 done, 1 refused or failed with the database as before, 2 misused."""

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import asyncpg
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dataset import loading
from dataset.cast import PASSWORD, email
from dataset.plan import Plan, PlanProblem, current_instant, parsed_size
from dataset.tokens import Mint, RoleName, bearers, owner_connection
from telemed.auth.passwords.hashing import PasswordHashes
from telemed.auth.passwords.rules import normalised_password
from telemed.kernel.settings import Settings, SettingsProblem, load_settings
from telemed_load.arguments import whole
from telemed_load.problems import LoadProblem
from telemed_load.settings_file import settings_from

SEED = 1
_PERCENT_PER_LINE = 20  # in place of a bar, where the output is a file or a CI log
_EPILOG = """The database and the secret are those of the environment (OWNER_DATABASE_URL, JWT_SECRET, …), or else
those of the platform that `make run` has started in this checkout."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    try:
        return asyncio.run(_stoppable(_load if options.command == "load" else _people, options))
    except PlanProblem as problem:
        return _refused(str(problem), code=2)
    except (LoadProblem, SettingsProblem) as problem:
        return _refused(str(problem), code=1)
    except asyncio.CancelledError:
        return _refused("Stopped; the database is as it was before.", code=1)


async def _stoppable(
    command: Callable[[argparse.Namespace, Settings], Awaitable[int]], options: argparse.Namespace
) -> int:
    """Run the command; signals end it where it waits, so that the connection is closed in order."""
    running = asyncio.ensure_future(command(options, _settings(options.secret)))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    return await running


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python load-tests/dataset", description=__doc__, epilog=_EPILOG)
    commands = parser.add_subparsers(dest="command", required=True)
    load = commands.add_parser("load", help="Fill an empty, migrated database; whole or not at all.", epilog=_EPILOG)
    load.add_argument("--slots", required=True, help="1e3 to 1e7; doctors and patients follow from it.")
    load.add_argument("--seed", type=int, default=SEED, help="The same seed gives the same data on the same day.")
    load.add_argument("--beside", action="store_true", help="Load although there are people already.")
    load.add_argument("--once", action="store_true", help="Where this seed's people are there already, that is fine.")
    people = commands.add_parser("people", help="Write people with tokens, one JSON object a line.", epilog=_EPILOG)
    people.add_argument("--role", choices=("patient", "doctor", "admin"), default="patient")
    people.add_argument("--count", type=whole, default=100, help="At most so many.")
    people.add_argument("--skip", type=whole, default=0, help="Leave out so many.")
    people.add_argument("--seed", type=int, default=None, help="Of this seed; of every one if not given.")
    for command in (load, people):
        command.add_argument("--secret", type=Path, help="A file of variables (.telemed/platform.env) to read instead.")
    return parser


def _settings(secret: Path | None) -> Settings:
    settings = load_settings() if secret is None else settings_from(secret)
    if settings.environment == "production":
        raise SettingsProblem("Load-test data are refused: ENVIRONMENT is production, and their password is public.")
    return settings


async def _load(options: argparse.Namespace, settings: Settings) -> int:
    plan = Plan(parsed_size(options.slots), options.seed, current_instant())
    hashes = PasswordHashes(settings.secret, cost=settings.bcrypt_cost)
    password_hash = hashes.make(normalised_password(PASSWORD))  # once: it takes a quarter of a second
    begun = time.monotonic()
    try:
        with _progress(loading.steps(plan)) as report:
            loaded = await loading.load(settings.owner_database, plan, password_hash, report, beside=options.beside)
    except loading.AlreadyThere as already:
        if not options.once:
            raise
        print(already)
        return 0
    counts = ", ".join(f"{count:,} {table.partition('.')[2]}" for table, count in loaded.counts.items())
    print(f"Loaded in {time.monotonic() - begun:.1f} s: {counts}.")
    print(f"Everybody's password is {PASSWORD!r}; for example of {email('patient', 0, plan.seed)}.")
    return 0


async def _people(options: argparse.Namespace, settings: Settings) -> int:
    role: RoleName = options.role
    mint = Mint(settings)
    async with owner_connection(settings) as connection:
        try:
            found = await bearers(connection, role, options.count, skip=options.skip, seed=options.seed)
        except asyncpg.UndefinedTableError as error:
            raise LoadProblem("The database has no accounts; run `telemed migrate` first.") from error
    for bearer in found:
        person = {"id": str(bearer.id), "email": bearer.email, "full_name": bearer.full_name, "role": bearer.role}
        print(json.dumps(person | asdict(mint.tokens(bearer))))
    if len(found) < options.count:
        sys.stderr.write(f"Only {len(found)} people were found.\n")
    return 0


@contextmanager
def _progress(total: int) -> Iterator[loading.Report]:
    """Show a bar on a terminal, a few lines elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(total)
        return
    columns = (TextColumn("{task.description:10}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("", total=total)
        yield lambda what, done: bar.update(task, description=what, advance=done)


class _Lines:
    """Prints how far it is, now and then."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0

    def __call__(self, what: str, done: int) -> None:
        before, self._done = self._done, self._done + done
        share = 100 // _PERCENT_PER_LINE
        if before * share // self._total < self._done * share // self._total:
            sys.stderr.write(f"{100 * self._done // self._total:3d} %  {what}\n")


def _refused(sentence: str, *, code: int) -> int:
    sys.stderr.write(f"dataset: {sentence}\n")
    return code
