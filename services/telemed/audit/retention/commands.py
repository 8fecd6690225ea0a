"""`telemed partitions …`: which months there are; make them, export them, and take old ones away.

Exit codes: 0 done, 1 refused (the month may not go, or is not there), 2 a file or the database cannot be used.
"""

import asyncio
import getpass
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from sqlalchemy.exc import DBAPIError

from telemed.audit.proof.lines import Unreadable
from telemed.audit.retention.operations import NotRetirable, checked_export, export_month, retire_month
from telemed.kernel.acts import Act
from telemed.kernel.clock import SystemClock
from telemed.kernel.direct import StatementFailed
from telemed.kernel.partitions import (
    MONTHLY_TABLES,
    MonthlyTable,
    create_month,
    default_rows,
    missing_months,
    month_of,
    partitions_of,
    shifted,
)
from telemed.kernel.problems import Problem
from telemed.kernel.resources import open_resources
from telemed.kernel.settings import load_settings
from telemed.kernel.sqlstates import sqlstate

T = TypeVar("T")

partitions_app = typer.Typer(no_args_is_help=True, help="Trail, outbox and history by month.")
REFUSED, CANNOT_USE = 1, 2
_Table = Annotated[str, typer.Argument(help=f"One of: {', '.join(MONTHLY_TABLES)}.")]
_Month = Annotated[str, typer.Argument(help="As `telemed partitions list` names it: 2026-12, or before-2026-12.")]


@partitions_app.command("list")
def list_partitions() -> None:
    """List the partitions, how large they are, and which may be retired."""

    async def run() -> list[str]:
        settings = load_settings()
        this_month = month_of(SystemClock().now())
        lines = []
        async with open_resources(settings, constraint_problems={}, database=settings.worker_database) as resources:
            for table in MONTHLY_TABLES:
                strays = sum((await resources.db.read(default_rows, table)).values())
                for one in await resources.db.read(partitions_of, table):
                    note = f"{strays} rows without a month" if one.ends_on is None and strays else ""
                    if one.ends_on and shifted(one.ends_on, settings.keep_months(table)) <= this_month:
                        note = "may be retired"
                    lines.append(f"{table:8} {one.label:15} {one.size_bytes:>15} bytes  {note}".rstrip())
        return lines

    for line in _run(run()):
        typer.echo(line)


@partitions_app.command()
def create() -> None:
    """Make the months ahead that are missing, as the worker does."""

    async def run() -> int:
        settings = load_settings()
        this_month = month_of(SystemClock().now())
        wanted = [shifted(this_month, count) for count in range(settings.partitions_ahead_months + 1)]
        made = 0
        async with open_resources(settings, constraint_problems={}, database=settings.worker_database) as resources:
            for table in MONTHLY_TABLES:
                there = await resources.db.read(partitions_of, table)
                for month in missing_months(there, wanted):
                    made += await resources.db.transact(create_month, table, month)
        return made

    typer.echo(f"{_run(run())} months made")


@partitions_app.command()
def export(
    table: _Table,
    month: _Month,
    to: Annotated[Path, typer.Option(help="Folder to write to.", exists=True, file_okay=False, writable=True)],
) -> None:
    """Write a month that is over into a file, with a manifest beside it. As the owner of the tables."""

    async def run() -> Path:
        settings = load_settings()
        async with open_resources(settings, constraint_problems={}, database=settings.owner_database) as resources:
            return await export_month(resources.db, _known(table), month, to, now=resources.clock.now())

    typer.echo(f"exported to {_run(run())}")


@partitions_app.command()
def retire(
    table: _Table,
    month: _Month,
    exported: Annotated[Path, typer.Option(help="The export of it: TABLE-MONTH.jsonl.gz.")],
) -> None:
    """Take a month away that has been kept for long enough and was exported. As the owner of the tables.

    Refused unless the export is exactly what the database holds; and, for events, all are delivered; for the trail, all
    is chained and covered by checkpoints. Keep the export: it is all that is left.
    """

    async def run() -> int:
        settings = load_settings()
        manifest = checked_export(exported, _known(table), month)
        keep_months, by = settings.keep_months(manifest.table), getpass.getuser()
        async with open_resources(settings, constraint_problems={}, database=settings.owner_database) as resources:
            act = Act(now=resources.clock.now())
            return await resources.db.transact(retire_month, act, manifest, keep_months=keep_months, by=by)

    typer.echo(f"{_run(run())} rows of {table} {month} retired; keep {exported} and its manifest")


def _known(table: str) -> MonthlyTable:
    for one in MONTHLY_TABLES:
        if one == table:
            return one
    raise NotRetirable(f"There is no table {table!r}; choose one of {', '.join(MONTHLY_TABLES)}.")


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run the command; what can go wrong ends in one sentence and an exit code."""
    try:
        return asyncio.run(work)
    except NotRetirable as error:
        message, code = str(error), REFUSED
    except Unreadable as error:
        message, code = str(error), CANNOT_USE
    except Problem as problem:
        message, code = f"The database cannot be used: {problem.detail}", CANNOT_USE
    except (DBAPIError, StatementFailed) as error:
        message, code = f"The database cannot be used: it answers with SQLSTATE {sqlstate(error)}.", CANNOT_USE
    typer.echo(message, err=True)
    raise typer.Exit(code)
