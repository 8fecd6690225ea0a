"""Files of lines, read and written with bounded memory; what is wrong with one ends in one sentence."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

# Where a program writes into a pipe, by custom; a file of this name is `./-`.
STANDARD_OUTPUT = Path("-")
# A checkpoint of the most records that one may cover has some 110 kB; a line far beyond that is none of ours.
MAX_LINE_BYTES = 1024 * 1024


class Unreadable(Exception):
    """A file cannot be used; the message is the one sentence that the operator sees."""


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Give the lines with their numbers.

    Raises:
        Unreadable: no such file, no right to read it, an endless line, or a last line that was cut off.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise Unreadable(f"{path}, line {number}: longer than any line of such a file.")
                if not line.endswith(b"\n"):
                    raise Unreadable(f"{path}, line {number}: the file ends in the middle of it.")
                yield number, line
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror or error}.") from error


@contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """Write a file as `replaced` does, or into standard output if *path* is `-`; that may end in the middle.

    Raises:
        Unreadable: it cannot be written.
    """
    if path != STANDARD_OUTPUT:
        with replaced(path) as file:
            yield file
        return
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except OSError as error:
        raise Unreadable(f"Standard output cannot be written: {error.strerror or error}.") from error


@contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that appears under its name complete and on disk, or not at all.

    What a link leads to is written, and the link stays.

    Raises:
        Unreadable: it cannot be written, or something has its name that is no file, a device or a pipe.
    """
    if path.exists() and not path.is_file():
        # Replaced it would be gone for everybody: root may take away /dev/stdout.
        raise Unreadable(f"{path} cannot be written: it is no file that could be replaced.")
    path = path.resolve()
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise Unreadable(f"{path} cannot be written: {error.strerror or error}.") from error
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise Unreadable(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the new name itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
