"""Makes a plain process nobody in particular, on files that it cannot write to: what root can do without a runtime."""

import os
import shlex
import shutil
import stat
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def is_root() -> bool:
    """Tell whether other users can be played."""
    return os.geteuid() == 0


def can_confine() -> bool:
    """Tell whether pods get a user and a read-only file system of their own."""
    return is_root() and all(shutil.which(name) for name in ("unshare", "setpriv", "bash"))


def confined(command: list[str], *, user: int, writable: list[Path], hosts: Path, stage: Path) -> list[str]:
    """Wrap the command: in a mount namespace of its own, with all but *writable* read-only, without any capability.

    *hosts* is what it finds as /etc/hosts, *stage* a folder for this one pod. What the interpreter needs may lie where
    only root can go, as in root's home; it is put in its place again inside the namespace, in folders that everybody
    can enter.
    """
    needed = [path for path in {Path(sys.base_prefix), Path(sys.prefix), CHECKOUT} if _closed_above(path)]
    quoted = {path: shlex.quote(str(path)) for path in (*needed, *writable, hosts, stage)}
    lines = ["set -e", "mount --make-rprivate /", f"mount --bind {quoted[hosts]} /etc/hosts"]
    lines += [f"mount --bind {quoted[path]} {quoted[path]}" for path in writable]
    for number, path in enumerate(needed):
        lines.append(f"mkdir -p {quoted[stage]}/{number} && mount --bind {quoted[path]} {quoted[stage]}/{number}")
    closed = sorted({shlex.quote(str(_closed_above(path))) for path in needed})
    lines += [f"mount -t tmpfs -o mode=755 none {folder}" for folder in closed]
    for number, path in enumerate(needed):
        lines.append(f"mkdir -p {quoted[path]} && mount --bind {quoted[stage]}/{number} {quoted[path]}")
        lines.append(f"mount -o remount,bind,ro {quoted[path]}")
    lines += [f"mount -o remount,ro {folder}" for folder in closed]
    lines += ["mount --bind / /", "mount -o remount,bind,ro /", "umask 0022"]
    becomes = f"--reuid={user} --regid={user} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all"
    return ["unshare", "--mount", "bash", "-c", "\n".join([*lines, f'exec setpriv {becomes} "$@"']), "pod", *command]


def _closed_above(path: Path) -> Path | None:
    """Give the first folder on the way to *path* that not everybody may enter."""
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None
