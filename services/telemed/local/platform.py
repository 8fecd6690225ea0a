"""`telemed run`: the whole platform on one machine, from nothing to an address that answers, and back."""

import asyncio
import http.client
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import asyncpg

from telemed.local import roles
from telemed.local.account import server_account
from telemed.local.demo.welcome import welcome
from telemed.local.postgres import start_postgres
from telemed.local.preflight import given_port, require_free, require_space
from telemed.local.problems import LocalProblem, explain_log, explain_os_error
from telemed.local.processes import Guard, Program, Running, free_port, stop_leftover
from telemed.local.state import StateFolder, open_state_folder
from telemed.local.terminal import Stopped, say, step, stop_signals
from telemed.local.valkey import start_valkey

READY_WITHIN_SECONDS = 60.0
STEPS = 5

# Any of these says that the developer brings the server; then none is started.
OWN_POSTGRES = (
    "DATABASE_URL",
    "OWNER_DATABASE_URL",
    "AUDITOR_DATABASE_URL",
    "WORKER_DATABASE_URL",
    "POSTGRES_HOST",
)
OWN_REDIS = ("REDIS_URL", "REDIS_HOST")
# Of the environment, what is written down for the other commands as well.
PASSED_ON = (
    *OWN_POSTGRES,
    *OWN_REDIS,
    "POSTGRES_PORT",
    "POSTGRES_USER",
    "POSTGRES_PASSWORD",
    "POSTGRES_DB",
    "REDIS_PORT",
)
DATABASE_VARIABLES = {
    "OWNER_DATABASE_URL": roles.OWNER,
    "DATABASE_URL": "telemed_api",
    "AUDITOR_DATABASE_URL": "telemed_audit_api",
    "WORKER_DATABASE_URL": "telemed_jobs",
}
# A little more than the time that the services give themselves to finish what is running.
SERVICE_STOPS_WITHIN_SECONDS = 35.0


def _telemed(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "telemed.cli", *arguments)


@dataclass(frozen=True)
class Commands:
    """What is run as processes of their own; tests put small ones in their place."""

    migrate: Sequence[str] = _telemed("migrate")
    seed: Sequence[str] = _telemed("seed")
    serve: Sequence[str] = _telemed("serve", "all")
    work: Sequence[str] = _telemed("work")


def run(port: int | None = None, commands: Commands | None = None) -> int:
    """Start everything, stay until Ctrl-C or a failure, stop everything; return the exit code.

    *port* defaults to PORT of the environment, then 3000.
    """
    try:
        _start_and_stay(given_port(port), commands or Commands())
    except Stopped:
        return 0
    except LocalProblem as problem:
        print(f"\ntelemed: {problem}", file=sys.stderr, flush=True)
        return 1
    return 0


def _start_and_stay(port: int, commands: Commands) -> None:
    home: object = os.environ.get("TELEMED_HOME") or ".telemed"
    try:
        state = open_state_folder(server_account())
        home = state.home
        with state.lock():
            require_free(port)
            require_space(state)
            if state.home != state.named:
                say(f"The servers' account cannot enter this checkout: the data are in {state.home}.")
            with stop_signals() as stop_requested:
                _Platform(port, commands, state, stop_requested).run()
    except OSError as error:
        problem = explain_os_error(error, home)
        if problem is None:
            raise
        raise problem from error


class _Platform:
    """What is running, in the order in which it was started."""

    def __init__(self, port: int, commands: Commands, state: StateFolder, stop_requested: Callable[[], bool]) -> None:
        self.port = port
        self.commands = commands
        self.state = state
        self.stop_requested = stop_requested
        self.guard = Guard()
        self.running: list[Running] = []
        self.environment = dict(os.environ)

    def run(self) -> None:
        """Start, stay, stop; whatever happens in between, everything is stopped."""
        begun = time.monotonic()
        try:
            self._start()
            say(f"Ready in {time.monotonic() - begun:.1f} s.\n\n{_welcome(self.port)}\n")
            say(f"Logs: {self.state.logs}   Stop: Ctrl-C")
            self._stay()
        finally:
            self._stop()

    def _start(self) -> None:
        values = {**self._start_postgres(), **self._start_valkey(), **self._secrets(), "PORT": str(self.port)}
        self.environment |= values
        self.environment.setdefault("TRACE_DIRECTORY", str(self.state.traces))  # for `telemed trace`
        self.environment.setdefault("DRAIN_SECONDS", "0")  # nobody stands before it who asks whether it is ready
        given = {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}
        self.state.write_platform({**given, **values})
        with step(3, STEPS, "Schema"):
            self._finish("migrate", self.commands.migrate, shown=False)
        self._seed()
        with step(5, STEPS, "Services"):
            self._launch("api", self.commands.serve)
            # A port of its own for its metrics: the services' one is taken by them.
            worker_port = os.environ.get("WORKER_MANAGEMENT_PORT") or str(free_port())
            self._launch("worker", self.commands.work, MANAGEMENT_PORT=worker_port)
            self._wait_until_ready()

    def _start_postgres(self) -> dict[str, str]:
        if _is_given(OWN_POSTGRES):
            say(f"[1/{STEPS}] PostgreSQL: the one named in the environment")
            return {}
        with step(1, STEPS, "PostgreSQL") as note:
            server = start_postgres(self.state.home / "postgres", self.guard)
            self.running.append(server.running)
            passwords = {role: self.state.secret(role) for role in (roles.OWNER, *roles.LOGINS)}
            asyncio.run(_prepare(server.dsn(), passwords))
            note(f"{server.version} on 127.0.0.1:{server.port}")
        self._leave_if_asked()
        addresses = {
            name: f"postgresql://{role}:{passwords[role]}@127.0.0.1:{server.port}/{roles.DATABASE}"
            for name, role in DATABASE_VARIABLES.items()
        }
        # Replicas that the environment names are those of another database.
        return addresses | {"REPLICA_DATABASE_URLS": ""}

    def _start_valkey(self) -> dict[str, str]:
        if _is_given(OWN_REDIS):
            say(f"[2/{STEPS}] Redis: the one named in the environment")
            return {}
        with step(2, STEPS, "Valkey") as note:
            server = start_valkey(self.state.home / "valkey", self.guard, password=self.state.secret("valkey"))
            self.running.append(server.running)
            note(f"{server.version} on 127.0.0.1:{server.port}")
        self._leave_if_asked()
        return {"REDIS_URL": server.url}

    def _secrets(self) -> dict[str, str]:
        return {name: os.environ.get(name) or self.state.secret(name.lower()) for name in ("JWT_SECRET", "PEPPER")}

    def _seed(self) -> None:
        if _is_given(OWN_POSTGRES):
            # Demo accounts have passwords that everybody knows: they never go where they were not asked for.
            say(f"[4/{STEPS}] Demo data: left out of a database of your own; `telemed seed` would add them")
        elif self.state.seeded_stamp.exists():
            say(f"[4/{STEPS}] Demo data: there already")
        else:
            say(f"[4/{STEPS}] Demo data")
            self._finish("seed", self.commands.seed, shown=True)
            self.state.seeded_stamp.touch()

    def _finish(self, name: str, command: Sequence[str], *, shown: bool) -> None:
        """Run a command to its end; *shown* lets its output through, for its progress bar."""
        child = self._program(name, command).start(self.guard, shown=shown)
        try:
            while not child.has_ended():
                self._leave_if_asked()
                time.sleep(0.02)
        finally:
            child.stop()
        if child.process.returncode != 0:
            raise self._explain(child, f"`telemed {name}` failed")

    def _launch(self, name: str, command: Sequence[str], **environment: str) -> None:
        self.running.append(self._program(name, command, environment).start(self.guard))

    def _program(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] = MappingProxyType({})
    ) -> Program:
        pid_file = self.state.home / "run" / f"{name}.pid"
        stop_leftover(pid_file, [str(Path(command[0]).parent), *command[1:]], signal.SIGTERM)
        return Program(
            name, command, self.state.logs / f"{name}.log", pid_file, environment={**self.environment, **environment}
        )

    def _wait_until_ready(self) -> None:
        port = int(self.environment.get("MANAGEMENT_PORT") or self.port)
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while not _is_ready(port):
            self._check_on_all()
            if time.monotonic() > deadline:
                raise self._explain(self.running[-2], "The services did not become ready")
            time.sleep(0.05)

    def _stay(self) -> None:
        while True:
            self._check_on_all()
            time.sleep(0.1)

    def _check_on_all(self) -> None:
        self._leave_if_asked()
        for running in self.running:
            if running.has_ended():
                raise self._explain(running, f"{running.name} ended by itself ({_ending(running)})")

    def _leave_if_asked(self) -> None:
        if self.stop_requested():
            raise Stopped

    def _explain(self, running: Running, what: str) -> LocalProblem:
        words = running.last_words()
        whole = f"{what}; the end of {running.log}:\n{words}"
        return explain_log(words, self.state.home) or LocalProblem(whole)

    def _stop(self) -> None:
        """Services first, then the cache, then the database, so that nobody loses what it still needs."""
        if self.running:
            say("\nStopping …", or_stop=False)
        services = [running for running in self.running if running.name in {"api", "worker"}]
        for running in services:
            running.ask_to_stop()
        for running in reversed(self.running):
            running.stop(within_seconds=SERVICE_STOPS_WITHIN_SECONDS if running in services else 15.0)
        self.guard.close()
        if self.running:
            say("Stopped.", or_stop=False)


async def _prepare(superuser_dsn: str, passwords: dict[str, str]) -> None:
    superuser = await asyncpg.connect(superuser_dsn, timeout=10)
    try:
        await roles.prepare_roles(superuser, passwords)
        await roles.prepare_database(superuser)
    finally:
        await superuser.close(timeout=10)


def _is_given(names: Sequence[str]) -> bool:
    return any(os.environ.get(name) for name in names)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _ending(running: Running) -> str:
    code = running.process.returncode
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _welcome(port: int) -> str:
    """Return what there is to try: the demo's accounts and commands, unless the database is somebody's own."""
    address = f"http://localhost:{port}"
    return f"  API        {address}\n  try it at  {address}/docs" if _is_given(OWN_POSTGRES) else welcome(address)
