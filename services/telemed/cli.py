"""The command line: the only module that knows every service."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from telemed.audit.commands import audit_app
from telemed.audit.retention.commands import partitions_app
from telemed.audit.service import SERVICE as AUDIT
from telemed.auth.commands import admin_app, keys_app
from telemed.auth.service import SERVICE as AUTH
from telemed.booking.service import SERVICE as BOOKING
from telemed.capacity.command import capacity
from telemed.consultation.service import SERVICE as CONSULTATION
from telemed.kernel.service import Service
from telemed.kernel.settings import SettingsProblem, load_logins, load_settings
from telemed.slo.command import slo_app
from telemed.smoke.command import smoke
from telemed.smoke.probe import probe
from telemed.traces.command import trace
from telemed.worker.commands import outbox_app

# What can be deployed, and of which services it consists. Auth also answers /audit.
DEPLOYABLES: dict[str, tuple[Service, ...]] = {
    "auth": (AUTH, AUDIT),
    "booking": (BOOKING,),
    "consultation": (CONSULTATION,),
    "all": (AUTH, BOOKING, CONSULTATION, AUDIT),
}

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
app.add_typer(audit_app, name="audit")
app.add_typer(partitions_app, name="partitions")
app.add_typer(outbox_app, name="outbox")
app.add_typer(admin_app, name="admin")
app.add_typer(keys_app, name="keys")
app.add_typer(slo_app, name="slo")
app.command()(smoke)
app.command()(probe)
app.command()(capacity)
app.command()(trace)


@app.command()
def run(port: Annotated[int | None, typer.Option(min=0, max=65535, help="Instead of PORT, or 3000.")] = None) -> None:
    """Start a whole platform on this machine, with real servers and demo data."""
    from telemed.local.platform import run as run_platform

    raise typer.Exit(run_platform(port))


@app.command()
def serve(
    service: Annotated[str, typer.Argument(help=f"One of: {', '.join(DEPLOYABLES)}.")],
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Instead of PORT.")] = None,
) -> None:
    """Answer HTTP requests as one service, or as all of them."""
    from telemed.kernel.http.server import serve as run_server

    if service not in DEPLOYABLES:
        raise SettingsProblem(f"There is no service {service!r}; choose one of {', '.join(DEPLOYABLES)}.")
    settings = load_settings()
    if port is not None:
        settings = settings.model_copy(update={"port": port})
    raise typer.Exit(uvloop.run(run_server(service, DEPLOYABLES[service], settings)))


@app.command()
def work() -> None:
    """Run the jobs that the services declare."""
    from telemed.worker.runner import work as run_jobs

    raise typer.Exit(uvloop.run(run_jobs(DEPLOYABLES["all"], load_settings())))


@app.command()
def migrate() -> None:
    """Bring the database to the newest revision; exit code 75: it cannot be reached now, try again."""
    from telemed.migrations.attempt import TRY_AGAIN, NotNow, migrate_as_owner

    try:
        migrate_as_owner(load_logins())
    except NotNow as problem:
        sys.stderr.write(f"telemed: {problem}\n")
        raise typer.Exit(TRY_AGAIN) from None


@app.command()
def seed() -> None:
    """Fill an empty platform with demo data: an invented clinic whose accounts everybody may use."""
    from telemed.local.demo.command import seed_demo

    asyncio.run(seed_demo(DEPLOYABLES["all"], load_settings()))


@app.command()
def openapi(
    output: Annotated[Path | None, typer.Option(help="File to write; standard output if not given.")] = None,
    service: Annotated[str, typer.Option(help=f"One of: {', '.join(DEPLOYABLES)}.")] = "all",
) -> None:
    """Write the OpenAPI document of a service, or of all of them."""
    from telemed.kernel.http.app import describe

    text = json.dumps(describe(DEPLOYABLES[service]), indent=2, ensure_ascii=False) + "\n"
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")


def main() -> None:
    """Run the command line; what an operator got wrong ends in one sentence, not in a traceback."""
    try:
        app()
    except SettingsProblem as problem:
        sys.stderr.write(f"telemed: {problem}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
