"""What can go wrong on a developer's machine, each told in one sentence instead of a traceback."""

import errno


class LocalProblem(Exception):
    """The platform cannot start or go on; the message is the one sentence that the developer sees."""


DISK_FULL = "The disk that holds {folder} is full: free some space, or set TELEMED_HOME to a folder on another disk."


def explain_os_error(error: OSError, folder: object) -> LocalProblem | None:
    """Translate the failures of a full or read-only disk; None for everything else."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return LocalProblem(DISK_FULL.format(folder=folder))
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        where = error.filename or folder
        return LocalProblem(f"This user cannot write {where}: change its owner, or set TELEMED_HOME to another folder.")
    return None


def explain_log(text: str, folder: object) -> LocalProblem | None:
    """Find in what a server or command printed the cause that a developer can remove, if it is there."""
    if "No space left on device" in text or "DiskFullError" in text:
        return LocalProblem(DISK_FULL.format(folder=folder))
    if "Can't locate revision" in text:
        return LocalProblem(
            f"The database in {folder} was made by a newer Telemed than this checkout: update the checkout, "
            "or start afresh with `make clean`."
        )
    return None
