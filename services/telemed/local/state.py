"""The one folder in which everything lives that `make run` makes: data, logs, secrets, and its lock."""

import fcntl
import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from telemed.kernel.settings import LOCAL_PLATFORM_FILE
from telemed.local.account import Account, write_private
from telemed.local.problems import LocalProblem

# For root in a checkout that the servers' account cannot enter, such as one below /root.
MOVED_HOMES = Path("/var/lib/telemed")


@dataclass(frozen=True)
class StateFolder:
    """Where the state is; *home* differs from *named* only when the servers could not enter *named*."""

    named: Path
    home: Path

    @property
    def platform_file(self) -> Path:
        """The addresses and secrets that every `telemed` command of this checkout reads."""
        return self.named / LOCAL_PLATFORM_FILE.name

    @property
    def traces(self) -> Path:
        """Where the processes write spans: beside the platform file, so that `telemed trace` finds them."""
        return self.named / "traces"

    @property
    def logs(self) -> Path:
        """What the parts of the platform wrote."""
        return self.home / "logs"

    @property
    def seeded_stamp(self) -> Path:
        """Exists once the demo data are complete."""
        return self.home / "seeded"

    def secret(self, name: str) -> str:
        """Return the secret of this name, made at random when it is first asked for and kept from then on."""
        file = self.home / "secrets.json"
        kept: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        if name not in kept:
            kept[name] = secrets.token_urlsafe(36)
            write_private(file, json.dumps(kept, indent=2))
        return kept[name]

    def write_platform(self, values: dict[str, str]) -> None:
        """Tell the other commands what was started."""
        lines = ["# Written by `make run`; read by every `telemed` command of this checkout.\n"]
        lines += [f"{name}={value}\n" for name, value in values.items()]
        write_private(self.platform_file, "".join(lines))

    def lock(self) -> TextIO:
        """Claim the folder until the returned file is closed or this process ends, however it ends.

        Raises:
            LocalProblem: another platform is using it.
        """
        file = (self.home / "lock").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise LocalProblem(
                f"The platform is already running from {self.named}: stop it first, with Ctrl-C."
            ) from None
        return file


def open_state_folder(account: Account | None) -> StateFolder:
    """Make the folder, or find it as the start before left it."""
    named = Path(os.environ.get("TELEMED_HOME") or LOCAL_PLATFORM_FILE.parent).absolute()
    # The servers' account must pass through it to its own folders; it can list or read nothing else.
    _make(named, 0o700 if account is None else 0o711)
    if account is None or account.may_enter(named):
        state = StateFolder(named, named)
    else:
        digest = hashlib.sha256(str(named).encode()).hexdigest()[:12]
        state = StateFolder(named, MOVED_HOMES / digest)
        for folder in (MOVED_HOMES, state.home):
            _make(folder, 0o711)
        # `make clean` finds it by this.
        write_private(named / "moved-to", f"{state.home}\n")
    for folder in (state.logs, state.home / "run"):
        _make(folder, 0o700)
    return state


def _make(folder: Path, mode: int) -> None:
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        # Also for root: files of root among a user's own would lock that user out of the platform.
        if folder.stat().st_uid != os.geteuid():
            raise LocalProblem(
                f"{folder} belongs to {_owner(folder)}: run the command, or `make clean`, as that user, "
                "or set TELEMED_HOME to another folder."
            ) from None
    else:
        folder.chmod(mode)


def _owner(folder: Path) -> str:
    try:
        return folder.owner()
    except KeyError:
        return "another user"
