"""`telemed slo …`: what follows from the objectives of ``observability/slo``."""

from pathlib import Path
from typing import Annotated

import typer

from telemed.slo.build import files, outdated, write

slo_app = typer.Typer(no_args_is_help=True, help="Service level objectives and what is generated from them.")
OUTDATED = 1


@slo_app.callback()
def _slo() -> None:
    """Keep `build` a command of its own: a group of one command would swallow its name."""


@slo_app.command()
def build(
    *,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit code 1 if something differs.")] = False,
    root: Annotated[Path, typer.Option(help="The checkout.")] = Path(),
) -> None:
    """Write rules, their tests, load gates and documents from the objectives."""
    made = files(root)
    differing = outdated(root, made)
    for path in differing:
        typer.echo(f"{'differs' if check else 'written'}: {path}")
    if check and differing:
        typer.echo("Run `telemed slo build` and commit what it writes.")
        raise typer.Exit(OUTDATED)
    write(root, made)
