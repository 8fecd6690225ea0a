"""`telemed audit …`: export the trail and its checkpoints, and verify the one by the other.

Exit codes: 0 all is well, 1 the trail is not what the checkpoints say, 2 something could not be read or written.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.exc import DBAPIError

from telemed.audit.chain.operations import make_checkpoint
from telemed.audit.proof.checkpoint_file import read_checkpoints
from telemed.audit.proof.lines import STANDARD_OUTPUT, Unreadable
from telemed.audit.proof.log_file import read_log
from telemed.audit.proof.operations import (
    Disagreement,
    export_checkpoints,
    export_log,
    spool_log,
    unchained_findings,
)
from telemed.audit.proof.report import report_lines
from telemed.audit.proof.retired import RetiredRecords
from telemed.audit.proof.rules import Finding, Leaf
from telemed.audit.proof.rules import verify as compare
from telemed.audit.proof.signing_keys import public_pem, signing_key, verifying_key
from telemed.audit.proof.spool import Spool
from telemed.audit.retention.queries import retirements
from telemed.kernel.clock import SystemClock
from telemed.kernel.direct import StatementFailed
from telemed.kernel.problems import Problem
from telemed.kernel.resources import Resources, open_resources
from telemed.kernel.settings import load_settings
from telemed.kernel.sqlstates import sqlstate

T = TypeVar("T")

audit_app = typer.Typer(no_args_is_help=True, help="The audit trail: export it, and prove that it is intact.")
BROKEN, CANNOT_READ = 1, 2
SinceSeq = Annotated[int, typer.Option(min=1, help="Leave out what stands before this place of the chain.")]


@audit_app.command()
def export(
    out: Annotated[Path, typer.Option(help="File to write, as JSON lines; `-`: standard output.")],
    since_seq: SinceSeq = 1,
) -> None:
    """Write the trail, in the order of its chain, with every hash."""

    async def run() -> int:
        async with _auditing() as resources:
            return await export_log(resources.db, out, since_seq=since_seq)

    written = _run(run())
    typer.echo(f"{written} records written to {out}", err=out == STANDARD_OUTPUT)


@audit_app.command()
def checkpoint(out: Annotated[Path, typer.Option(help="File to append to; made if it is not there.")]) -> None:
    """Make a checkpoint of what is new, and append to the file what it does not hold yet.

    Keep the file where the masters of the database cannot change it: it is what they are checked by.
    """

    async def run() -> int:
        settings = load_settings()
        key = signing_key(settings.audit_signing_key_file)
        async with open_resources(settings, constraint_problems={}, database=settings.worker_database) as resources:
            while await resources.db.transact(make_checkpoint, now=resources.clock.now(), is_asked_for=True):
                pass
            return await export_checkpoints(resources.db, out, key=key)

    typer.echo(f"{_run(run())} checkpoints added to {out}")


@audit_app.command()
def verify(
    checkpoints: Annotated[Path, typer.Option(help="Checkpoints that `telemed audit checkpoint` exported.")],
    log: Annotated[Path | None, typer.Option(help="An exported log; the database's own if not given.")] = None,
    since_seq: SinceSeq = 1,
    chained_within_minutes: Annotated[
        int, typer.Option(min=0, help="How long a record may take into the chain before it is reported.")
    ] = 15,
    public_key: Annotated[
        Path | None, typer.Option(help="Believe only checkpoints that are signed with this key (Ed25519, PEM).")
    ] = None,
    exports: Annotated[
        Path | None, typer.Option(help="Folder with the exports of retired months (`telemed partitions export`).")
    ] = None,
) -> None:
    """Say whether the trail is what the checkpoints say, and if not, which records were tampered with.

    Believes nothing that the database says of itself: every hash is computed anew from the records, those of retired
    months from their exports. Without an export the month's records are taken on trust, and counted.
    """
    chained_within = timedelta(minutes=chained_within_minutes)
    source = _Source(log, exports, since_seq, chained_within)
    raise typer.Exit(_run(_verify(checkpoints, source, public_key)))


@audit_app.command()
def public_key() -> None:
    """Print the public half of the key in AUDIT_SIGNING_KEY_FILE."""

    async def run() -> str:
        key = signing_key(load_settings().audit_signing_key_file)
        if key is None:
            raise Unreadable("AUDIT_SIGNING_KEY_FILE is not set.")
        return public_pem(key)

    typer.echo(_run(run()), nl=False)


@dataclass(frozen=True, slots=True)
class _Source:
    """What is to be verified, and by what the records that are not there any more."""

    log: Path | None
    exports: Path | None
    since_seq: int
    chained_within: timedelta


async def _verify(checkpoints: Path, source: _Source, public_key_file: Path | None) -> int:
    key = verifying_key(public_key_file)
    if next(read_checkpoints(checkpoints, key), None) is None:
        raise Unreadable(f"{checkpoints} holds no checkpoint.")
    more: tuple[Finding, ...] = ()
    with Spool() as spool, ExitStack() as stack:
        if source.log is not None:
            retired = stack.enter_context(_of_exports(source.exports))
            entries = (entry for entry in read_log(source.log) if entry.seq >= source.since_seq)
            spool.extend(retired.stand_in(entry) for entry in entries)
        else:
            async with _auditing() as resources:
                said = await resources.db.read(retirements)
                retired = stack.enter_context(RetiredRecords(said, now=resources.clock.now()))
                if source.exports is not None:
                    retired.use_exports(source.exports)
                more = await _read_database(resources, spool, retired, source)
        verdict = compare(lambda: _leaves(checkpoints, source.since_seq, key), spool.entries)
        for line in report_lines(verdict, more, retired.lines()):
            typer.echo(line)
    return 0 if verdict.is_intact and not more else BROKEN


def _of_exports(folder: Path | None) -> RetiredRecords:
    now = SystemClock().now()
    return RetiredRecords.of_exports(folder, now=now) if folder is not None else RetiredRecords((), now=now)


async def _read_database(
    resources: Resources, spool: Spool, retired: RetiredRecords, source: _Source
) -> tuple[Finding, ...]:
    await spool_log(resources.db, spool, retired, since_seq=source.since_seq)
    counts = retired.count_findings() if source.since_seq == 1 else ()
    before = resources.clock.now() - source.chained_within
    past = [found async for found in unchained_findings(resources.db, before=before)]
    return (*retired.findings, *counts, *past)


def _leaves(checkpoints: Path, since_seq: int, key: Ed25519PublicKey | None) -> Iterator[Leaf]:
    for one in read_checkpoints(checkpoints, key):
        yield from (leaf for leaf in one.leaves if leaf.seq >= since_seq)


def _auditing() -> AbstractAsyncContextManager[Resources]:
    """Open the database as the auditor, who may only read."""
    settings = load_settings()
    return open_resources(settings, constraint_problems={}, database=settings.auditor_database, clock=SystemClock())


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run the command; what can go wrong ends in one sentence and an exit code."""
    try:
        return asyncio.run(work)
    except Disagreement as error:
        message, code = str(error), BROKEN
    except Unreadable as error:
        message, code = str(error), CANNOT_READ
    except Problem as problem:
        message, code = f"The database cannot be read: {problem.detail}", CANNOT_READ
    except (DBAPIError, StatementFailed) as error:
        message, code = f"The database cannot be read: it answers with SQLSTATE {sqlstate(error)}.", CANNOT_READ
    typer.echo(message, err=True)
    raise typer.Exit(code)
