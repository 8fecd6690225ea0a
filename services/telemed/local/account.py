"""The unprivileged account that runs the servers for a developer who is root: PostgreSQL refuses root."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from telemed.local.problems import LocalProblem

# `nobody` first: it owns nothing, so a flaw in a server reaches nothing. The others are for slim images.
CANDIDATES = ("nobody", "postgres", "daemon")


@dataclass(frozen=True)
class Account:
    """A user that is not root, and its group."""

    name: str
    uid: int
    gid: int

    def may_enter(self, folder: Path) -> bool:
        """Try it as that user, so that the kernel judges permissions of all parents, ACLs and mounts."""
        answer = subprocess.run(
            ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)],
            check=False,
            capture_output=True,
            cwd="/",
            user=self.uid,
            group=self.gid,
            extra_groups=[],
        )
        return answer.returncode == 0


def server_account() -> Account | None:
    """Name the account for the servers; None when the developer is not root and simply runs them."""
    if os.geteuid() != 0:
        return None
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise LocalProblem(
        "PostgreSQL refuses to run as root and this machine has no account "
        f"named {', '.join(CANDIDATES[:-1])} or {CANDIDATES[-1]}: run the command as an ordinary user."
    )


def private_folder(folder: Path, account: Account | None) -> Path:
    """Make the folder, for the account alone if there is one, else for the developer alone."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account is not None:
        os.chown(folder, account.uid, account.gid)
    return folder


def write_private(path: Path, text: str, account: Account | None = None) -> None:
    """Replace the file in one step, so that no reader sees half of it; only its owner can ever read it."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    if account is not None:
        os.chown(draft, account.uid, account.gid)
    draft.replace(path)
