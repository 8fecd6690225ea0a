"""What the application is, seen from outside: its commands, and which settings and secrets each of them needs.

Derived from the code wherever the code says it; what is only written down here names its source.
"""

import re
from collections.abc import Mapping
from functools import cache, lru_cache

from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict
from tests.charts.invariants.objects import Container, Rendering, items
from typer.main import get_command

from telemed.audit.service import SERVICE as AUDIT
from telemed.auth.service import SERVICE as AUTH
from telemed.cli import DEPLOYABLES, app
from telemed.kernel.settings import DatabaseLogins, Settings

# Commands that stay: they listen, and end by SIGTERM.
LASTING_COMMANDS = {"serve", "work"}
# Commands that stay, too, but are no part of the platform: they come to it as its users do.
VISITING_COMMANDS = {"probe"}
# Read by Python and libraries themselves and not by Settings: harmless, and useful to have.
OF_LIBRARIES = ("MALLOC_", "OTEL_", "PYTHON", "SMOKE_", "SSL_CERT_", "UVICORN_")
LIBRARIES = {
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "TELEMED_HOME",  # kernel/settings.py: LOCAL_PLATFORM_FILE
    "TMPDIR",
    "TZ",
}
# Written down, not derived: every process opens the same resources (kernel/resources.py), though it uses only some.
# Source: decision 0017 and the grants of migration 0001.
_KEYS_OF_TOKENS = {"HS256": {"JWT_SECRET"}, "EdDSA": {"JWT_PUBLIC_KEY_FILES"}}


@cache
def commands() -> frozenset[str]:
    """Give the first words that `telemed` takes."""
    return frozenset(getattr(get_command(app), "commands", {}))


@cache
def secret_settings() -> frozenset[str]:
    """Give the variables whose values nobody may read."""
    return frozenset(
        name.upper() for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)
    )


def is_secret(name: str) -> bool:
    """Tell whether a variable's value must come from a Secret."""
    return name in secret_settings()


def command_of(container: Container) -> list[str]:
    """Give what `telemed` is asked to do; empty for somebody else's container."""
    words = [str(word) for word in [*items(container.spec, "command"), *items(container.spec, "args")]]
    while words and words[0].rpartition("/")[2] in ("telemed", "python", "python3", "-m", "telemed.cli", "watchfiles"):
        words = words[1:]
    return words if words and words[0] in commands() else []


def ours(rendering: Rendering) -> list[Container]:
    """Give the containers that run the application."""
    return [container for container in rendering.containers if command_of(container)]


def repository(image: str) -> str:
    """Give an image's name without tag and digest."""
    name = image.partition("@")[0]
    head, _, tail = name.rpartition(":")
    return head if head and "/" not in tail else name


def services_of(words: list[str]) -> set[str]:
    """Give the names of the services that a command answers for."""
    if not words or words[0] != "serve":
        return set()
    return {service.name for service in DEPLOYABLES.get(words[1] if len(words) > 1 else "", ())}


def needed_secrets(words: list[str], algorithm: str) -> set[str]:
    """Give the secret variables without which a command would fall back to a default, or not start."""
    tokens = {name for name in _KEYS_OF_TOKENS.get(algorithm, set()) if is_secret(name)}
    if words[0] in LASTING_COMMANDS:
        # REDIS_URL and addresses of databases have defaults that lead to the pod itself.
        needed = (
            {"DATABASE_URL", "REDIS_URL", "PEPPER"} if words[0] == "serve" else {"WORKER_DATABASE_URL", "REDIS_URL"}
        )
        if AUDIT.name in services_of(words):
            needed.add("AUDITOR_DATABASE_URL")
        return needed | tokens | ({"PEPPER"} if algorithm == "EdDSA" else set())
    if words[0] == "migrate":
        return {"OWNER_DATABASE_URL"}
    return set()


def allowed_secrets(words: list[str], algorithm: str) -> set[str]:
    """Give the secret variables that a command may have: what it needs, and what makes it better."""
    more = {
        "serve": {"REPLICA_DATABASE_URLS"},
        "work": {"REPLICA_DATABASE_URLS", "PEPPER"},
        # Makes its doctor's account in the database, and derives the account's password (smoke/cast.py).
        "smoke": {"DATABASE_URL", "PEPPER", "JWT_SECRET"},
        "probe": {"DATABASE_URL", "PEPPER", "JWT_SECRET"},
    }
    return needed_secrets(words, algorithm) | more.get(words[0], set())


def may_sign(words: list[str]) -> bool:
    """Tell whether a command needs the key that tokens are signed with."""
    return AUTH.name in services_of(words)


STAND_INS = {
    "REDIS_URL": "redis://cache.invalid:6379/0",
    "REPLICA_DATABASE_URLS": "postgresql://reader:stand-in@database.invalid:5432/telemed",
    "JWT_SECRET": "stand-in-of-a-secret-of-forty-characters",
    "PEPPER": "stand-in-of-a-secret-of-forty-characters",
}
_DATABASE = "postgresql://user:stand-in@database.invalid:5432/telemed"


def environment(container: Container) -> dict[str, str]:
    """Give the container's environment; values of Secrets are replaced by others that could be theirs."""
    found: dict[str, str] = {}
    for variable in items(container.spec, "env"):
        name = variable["name"]
        if "valueFrom" in variable:
            found[name] = STAND_INS.get(name, _DATABASE if name.endswith("DATABASE_URL") else "stand-in")
        else:
            found[name] = _expanded(str(variable.get("value", "")), found)
    return found


def _expanded(value: str, known: Mapping[str, str]) -> str:
    return re.sub(r"\$\((\w+)\)", lambda name: known.get(name[1], name[0]), value)


class _GivenSettings(Settings):
    """Settings of exactly what is given: this process's own environment has nothing that begins like this."""

    model_config = SettingsConfigDict(env_prefix="of-nobody's-environment:")


class _GivenLogins(DatabaseLogins):
    """All that a migration reads."""

    model_config = SettingsConfigDict(env_prefix="of-nobody's-environment:")


def settings_of(container: Container) -> DatabaseLogins:
    """Read the container's environment as the application would.

    Raises:
        ValidationError: it would not start.
    """
    given = {name.lower(): value for name, value in environment(container).items() if value != ""}
    return _read(command_of(container)[0] == "migrate", tuple(sorted(given.items())))


@lru_cache(maxsize=4096)  # reading takes a millisecond, and every second invariant asks
def _read(is_migration: bool, given: tuple[tuple[str, str], ...]) -> DatabaseLogins:
    kind = _GivenLogins if is_migration else _GivenSettings
    return kind(**{name: value for name, value in given if name in kind.model_fields})  # type: ignore[arg-type]  # text, as in an environment


def readable_settings(container: Container) -> Settings | None:
    """Read the container's environment; None if the application would not start with it (which is said elsewhere)."""
    try:
        found = settings_of(container)
    except ValidationError:
        return None
    return found if isinstance(found, Settings) else None


def is_production(rendering: Rendering) -> bool:
    """Tell whether any container of the application is told that patients depend on it.

    Of a rendering without the application (the data, say) it is assumed.
    """
    told = [environment(container).get("ENVIRONMENT", "local") for container in ours(rendering)]
    return "production" in told or not told
