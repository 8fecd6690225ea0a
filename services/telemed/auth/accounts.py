"""Giving somebody an account with a role past the API: for commands that hold the database and the secret."""

from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError

from telemed.auth.passwords.passwords import Passwords, open_passwords
from telemed.auth.problems import EmailTaken
from telemed.auth.users.administration import Outcome, WantedAccount, current_hash, ensure_account
from telemed.contracts.roles import Role
from telemed.kernel.acts import Act
from telemed.kernel.direct import StatementFailed
from telemed.kernel.ids import uuid7
from telemed.kernel.problems import Problem, Unavailable
from telemed.kernel.resources import open_resources
from telemed.kernel.settings import Settings, SettingsProblem
from telemed.kernel.sqlstates import NOT_MIGRATED, sqlstate


@dataclass(frozen=True, slots=True)
class Account:
    """Who is to have an account; the address and the password are normalised."""

    email: str
    full_name: str
    password: str
    role: Role


async def provide_account(settings: Settings, account: Account, *, because: str) -> Outcome:
    """Make sure that the account is there, with this password and role; doing it again changes nothing.

    *because* is the command, for the trail.

    Raises:
        SettingsProblem: the database cannot be used, or the password is easy to guess; says which.
    """
    try:
        try:
            return await _provide(settings, account, because)
        except EmailTaken:  # somebody registered the address since it was looked for: now it is found
            return await _provide(settings, account, because)
    except Unavailable as error:
        raise SettingsProblem("The database cannot be reached; is it running, and is DATABASE_URL right?") from error
    except Problem as problem:
        raise SettingsProblem(problem.detail) from problem
    except (DBAPIError, StatementFailed) as error:
        if sqlstate(error) in NOT_MIGRATED:
            raise SettingsProblem("The database has no tables yet; run `telemed migrate` first.") from error
        raise SettingsProblem(f"The database refused: {error.orig}.") from error


async def _provide(settings: Settings, account: Account, because: str) -> Outcome:
    async with (
        open_resources(settings, constraint_problems={"users_email_key": EmailTaken}) as resources,
        open_passwords(resources) as passwords,
    ):
        stored = await resources.db.transact(current_hash, account.email)
        password_hash = None
        if stored is None or not await _is_password(passwords, account.password, stored):
            password_hash = await passwords.hash_new(account.password, about=(account.email, account.full_name))
        act = Act(now=resources.clock.now(), request_id=f"{because}-{uuid7()}")
        wanted = WantedAccount(account.email, account.full_name, password_hash, account.role)
        return await resources.db.transact(ensure_account, act, wanted)


async def _is_password(passwords: Passwords, password: str, stored: str) -> bool:
    with passwords.place():
        return (await passwords.compare(password, stored)).matches
