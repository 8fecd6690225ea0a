"""`telemed seed`: the demo with a progress bar."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from sqlalchemy.exc import DBAPIError

from telemed.kernel.direct import StatementFailed
from telemed.kernel.http.server import constraint_problems
from telemed.kernel.problems import Overloaded, Unavailable
from telemed.kernel.resources import open_resources
from telemed.kernel.service import Service
from telemed.kernel.settings import Settings, SettingsProblem
from telemed.kernel.sqlstates import NOT_MIGRATED, sqlstate
from telemed.kernel.telemetry.logs import configure_logs
from telemed.local.demo.seed import Report, seed

# In place of a bar, where the output is a file or a CI log.
_PERCENT_PER_LINE = 20


async def seed_demo(services: Sequence[Service], settings: Settings) -> None:
    """Fill the platform with the demo; say so, whether there was anything to do or not.

    Raises:
        SettingsProblem: the platform is not one for demos, or cannot be reached.
    """
    # What goes wrong ends in one sentence; a person at a terminal needs no log besides.
    configure_logs(level="ERROR", service="seed")
    async with open_resources(settings, constraint_problems=constraint_problems(services)) as resources:
        with _progress() as report:
            try:
                is_new = await resources.db.transact(seed, settings, resources.clock, report)
            except Unavailable as error:
                raise SettingsProblem("Demo data need a database, and it does not answer.") from error
            except Overloaded as error:
                raise SettingsProblem("The database is busy, perhaps with another `telemed seed`.") from error
            except (DBAPIError, StatementFailed) as error:
                if sqlstate(error) not in NOT_MIGRATED:
                    raise
                raise SettingsProblem("Demo data need the tables: run `telemed migrate` first.") from error
    print("The demo data are complete." if is_new else "The demo data are there already.", flush=True)


@contextmanager
def _progress() -> Iterator[Report]:
    """Show a bar on a terminal, a few lines elsewhere."""
    console = Console()
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (TextColumn("      {task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("people, slots, visits", total=None)
        yield lambda done, steps: bar.update(task, completed=done, total=steps)


class _Lines:
    """Prints how far it is, now and then."""

    def __init__(self) -> None:
        self._said = 0

    def __call__(self, done: int, steps: int) -> None:
        percent = 100 * done // steps
        if percent // _PERCENT_PER_LINE > self._said // _PERCENT_PER_LINE:
            self._said = percent
            print(f"      {percent:3d} %", flush=True)
