"""`telemed capacity`: how much of everything so many consultations a day need."""

from enum import StrEnum
from typing import Annotated

import typer

from telemed.capacity.measured import read_measured
from telemed.capacity.plan import plan
from telemed.capacity.shown import as_json, as_table, as_values
from telemed.capacity.traffic import PEAK_FACTOR


class Format(StrEnum):
    """How it is printed."""

    TABLE = "table"
    JSON = "json"
    VALUES = "values"


class Chart(StrEnum):
    """Whose values are printed."""

    TELEMED = "telemed"
    TELEMED_DATA = "telemed-data"


def capacity(
    consultations_per_day: Annotated[int, typer.Option(min=1, max=100_000_000, help="Visits that take place.")],
    peak_factor: Annotated[float, typer.Option(min=1, max=1000, help="Busiest hour over average.")] = PEAK_FACTOR,
    output: Annotated[Format, typer.Option("--format", help="For people, for programs, or for Helm.")] = Format.TABLE,
    chart: Annotated[Chart, typer.Option(help="Whose values, with --format values.")] = Chart.TELEMED,
) -> None:
    """Work out requests, replicas, pools and connections from what requests were measured to cost."""
    measured = read_measured()
    worked_out = plan(measured, consultations_per_day, peak_factor)
    match output:
        case Format.TABLE:
            text = as_table(worked_out, measured)
        case Format.JSON:
            text = as_json(worked_out, measured)
        case Format.VALUES:
            text = as_values(worked_out, chart.value)
    typer.echo(text, nl=False)
