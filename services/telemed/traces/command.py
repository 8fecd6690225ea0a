"""`telemed trace`: the latest traces of this checkout's platform, or one of them as a waterfall."""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from telemed.kernel.settings import LOCAL_PLATFORM_FILE, SettingsProblem
from telemed.traces.drawing import Style, Summary, summary_of, table, waterfall
from telemed.traces.reading import SpanLine, by_trace, read_spans

_SHORTEST_PREFIX = 4
_NAMED = 5  # candidates that are listed when an id is ambiguous
Traces = Mapping[str, Sequence[SpanLine]]


def trace(  # noqa: PLR0913 - each is an option of the command line
    which: Annotated[str, typer.Argument(help="A trace id, the beginning of one, or a request id.")] = "",
    *,
    slowest: Annotated[bool, typer.Option("--slowest", help="The slowest on top.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Only those in which something failed.")] = False,
    route: Annotated[str, typer.Option(help="Only those whose name holds this.")] = "",
    jobs: Annotated[bool, typer.Option("--jobs", help="Also runs of the worker's jobs.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    verbose: Annotated[bool, typer.Option("--verbose", help="With the text of statements.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON: the list, or the spans of one trace.")] = False,
    directory: Annotated[
        Path | None, typer.Option(envvar="TRACE_DIRECTORY", help="Instead of that of `make run`.")
    ] = None,
) -> None:
    """Show the latest traces, or one of them as a waterfall."""
    traces = _read(directory or LOCAL_PLATFORM_FILE.parent / "traces")
    if not which:
        summaries = map(summary_of, traces.values())
        wanted = [one for one in summaries if _is_wanted(one, failed=failed, route=route, jobs=jobs)]
        wanted.sort(key=lambda one: one.seconds if slowest else one.root.started_at.timestamp(), reverse=True)
        if not wanted and not as_json:
            raise SettingsProblem(
                f"None of the {len(traces)} traces that were kept is like that; --jobs shows jobs, too."
            )
        typer.echo(_listed(wanted[:limit]) if as_json else table(wanted[:limit], _style()))
        return
    spans = traces[find(traces, which.removeprefix("0x"))]
    if as_json:
        typer.echo(json.dumps([asdict(span) for span in spans], indent=2, default=str))
    else:
        typer.echo(waterfall(spans, _style(), verbose=verbose))


def find(traces: Traces, which: str) -> str:
    """Give the id of the trace that is meant.

    Raises:
        SettingsProblem: none is, or several are.
    """
    if which in traces:
        return which
    by_request = {
        trace_id
        for trace_id, spans in traces.items()
        for span in spans
        if span.attributes.get("telemed.request_id") == which
    }
    prefix = which if len(which) >= _SHORTEST_PREFIX else "-"
    found = sorted(by_request or {trace_id for trace_id in traces if trace_id.startswith(prefix)})
    if not found:
        raise SettingsProblem(f"No trace and no request {which!r} is among the {len(traces)} that were kept.")
    if len(found) > 1:
        raise SettingsProblem(f"{which!r} may be any of {', '.join(found[:_NAMED])}; say more of it.")
    return found[0]


def _read(directory: Path) -> Traces:
    if not directory.is_dir():
        raise SettingsProblem(f"There is no {directory}: `make run` writes spans there, or set TRACE_DIRECTORY.")
    spans = read_spans(directory)
    if spans.broken:
        sys.stderr.write(f"telemed: {spans.broken} lines could not be read, perhaps one is just being written.\n")
    if not spans.all:
        raise SettingsProblem(f"No trace is in {directory} yet; TRACE_SAMPLE_RATIO=1 keeps every request's.")
    return by_trace(spans.all)


def _is_wanted(one: Summary, *, failed: bool, route: str, jobs: bool) -> bool:
    return (one.failed or not failed) and route in one.root.name and (jobs or not one.root.is_job)


def _listed(summaries: Sequence[Summary]) -> str:
    return json.dumps([asdict(one) for one in summaries], indent=2, default=str)


def _style() -> Style:
    return Style(
        width=shutil.get_terminal_size((100, 20)).columns,
        has_colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ,
        is_unicode="utf" in (sys.stdout.encoding or "").lower(),
    )
