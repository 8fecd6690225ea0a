"""`telemed outbox …`: look at events that were given up on, and give them another chance."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Concatenate, ParamSpec, TypeVar
from uuid import UUID

import typer
from sqlalchemy.exc import DBAPIError
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.kernel.clock import SystemClock
from telemed.kernel.direct import StatementFailed
from telemed.kernel.problems import Problem
from telemed.kernel.resources import open_resources
from telemed.kernel.settings import load_settings
from telemed.kernel.sqlstates import sqlstate
from telemed.worker import queries

P = ParamSpec("P")
T = TypeVar("T")

outbox_app = typer.Typer(no_args_is_help=True, help="Events on their way to their subscribers.")
CANNOT_USE = 2  # exit code: the database did not answer, or refused; nothing is known


@outbox_app.command()
def parked(limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 100) -> None:
    """List the events that were given up on. Exit code 0: none, 1: there are some, 2: the database cannot be used."""
    events = _transact(queries.parked_events, limit=limit)
    now = SystemClock().now()
    for event in events:
        typer.echo(
            f"{event.id}  {event.type}  {_age(now, event.occurred_at)} old  "
            f"{event.attempts} attempts  {event.last_error or '-'}"
        )
    typer.echo(f"{len(events)} parked" if len(events) < limit else f"the first {limit} parked events", err=True)
    raise typer.Exit(1 if events else 0)


@outbox_app.command()
def requeue(
    event_id: Annotated[UUID | None, typer.Argument(help="Id of a parked event.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Requeue every parked event.")] = False,
) -> None:
    """Deliver parked events again. Exit code 0: done, 1: no such parked event, 2: the database cannot be used."""
    if (event_id is None) != every:
        raise typer.BadParameter("give the id of one event, or --all")
    count = _transact(queries.requeue, event_id, now=SystemClock().now())
    if event_id is not None and count == 0:
        typer.echo(f"No event {event_id} is parked.", err=True)
        raise typer.Exit(1)
    typer.echo(f"{count} requeued")


def _transact(operation: Callable[Concatenate[AsyncSession, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    async def run() -> T:
        settings = load_settings()
        async with open_resources(settings, constraint_problems={}, database=settings.worker_database) as resources:
            return await resources.db.transact(operation, *args, **kwargs)

    try:
        return asyncio.run(run())
    except Problem as problem:
        typer.echo(f"The database does not answer: {problem.detail}", err=True)
        raise typer.Exit(CANNOT_USE) from problem
    except (DBAPIError, StatementFailed) as error:
        typer.echo(f"The database cannot be used: it answers with SQLSTATE {sqlstate(error)}.", err=True)
        raise typer.Exit(CANNOT_USE) from error


def _age(now: datetime, then: datetime) -> str:
    minutes, seconds = divmod(int((now - then).total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours}h"
    return f"{hours}h{minutes}m" if hours else f"{minutes}m{seconds}s"
