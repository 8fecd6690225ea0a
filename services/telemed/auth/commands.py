"""Commands of auth: `telemed admin …` and `telemed keys …`."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import TypeAdapter, ValidationError

from telemed.auth.accounts import Account, provide_account
from telemed.auth.emails import EmailAddress
from telemed.auth.passwords.schemas import NewPassword
from telemed.auth.tokens.key_files import write_key_pair
from telemed.auth.users.administration import Outcome
from telemed.contracts.roles import Role
from telemed.kernel.settings import load_settings
from telemed.kernel.text import Line200

admin_app = typer.Typer(no_args_is_help=True, help="Administrators.")
keys_app = typer.Typer(no_args_is_help=True, help="Keys that sign and verify access tokens.")

_MAX_LINE = 8192  # far above the longest password
_SENTENCES: dict[Outcome, str] = {
    "created": "{email} is an administrator; the account was made.",
    "promoted": "{email} is an administrator; an account existed, it has the given password from now on.",
    "password-set": "{email} was an administrator already; the given password holds from now on.",
    "unchanged": "{email} was an administrator with this password already; nothing was changed.",
}


@admin_app.callback()
def _admin() -> None:
    """Administrators."""


@keys_app.callback()
def _keys() -> None:
    """Keys that sign and verify access tokens."""


@admin_app.command("create")
def create_admin(
    email: Annotated[str, typer.Option(help="Address to log in with.")],
    password_stdin: Annotated[  # noqa: FBT002 - a flag, as the command line has them
        bool, typer.Option("--password-stdin", help="Read the password from the first line of standard input.")
    ] = False,
    full_name: Annotated[str, typer.Option(help="Name, if the account is new.")] = "Administrator",
) -> None:
    """Make an administrator, or make somebody one. Doing it again changes nothing."""
    if not password_stdin:
        _fail("Give the password on standard input, with --password-stdin; arguments can be seen by others.")
    address = _checked(EmailAddress, email, "--email")
    name = _checked(Line200, full_name, "--full-name")
    password = _checked(NewPassword, _first_line(), "The password")
    settings = load_settings()
    account = Account(address, name, password, Role.ADMIN)
    outcome = asyncio.run(provide_account(settings, account, because="telemed-admin-create"))
    typer.echo(_SENTENCES[outcome].format(email=address))


@keys_app.command("create")
def create_keys(
    out: Annotated[Path, typer.Option(help="Folder to write the two files to; made if it does not exist.")],
) -> None:
    """Make an Ed25519 key pair for JWT_ALGORITHM=EdDSA."""
    try:
        files = write_key_pair(out)
    except OSError as error:
        _fail(f"Cannot write to {out}: {error.strerror}.")
    typer.echo(f"JWT_PRIVATE_KEY_FILE={files.private}")
    typer.echo(f"JWT_PUBLIC_KEY_FILES={files.public}")


def _first_line() -> str:
    """Read the password as it stands, without the line's end."""
    try:
        return sys.stdin.buffer.readline(_MAX_LINE).decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        _fail("The password is not UTF-8.")


def _checked(kind: Any, value: str, what: str) -> str:  # an annotated type has no type of its own
    try:
        checked: str = TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        _fail(f"{what}: {message.rstrip('.')}.")
    return checked


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"telemed: {sentence}", err=True)
    raise typer.Exit(1)
