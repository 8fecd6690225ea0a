"""What containers are told: nothing twice, nothing that nobody reads, and nothing that the application would refuse."""

import re
from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches
from ipaddress import ip_network

from pydantic import ValidationError
from tests.charts.invariants.application import (
    LASTING_COMMANDS,
    LIBRARIES,
    OF_LIBRARIES,
    VISITING_COMMANDS,
    command_of,
    commands,
    environment,
    is_production,
    is_secret,
    ours,
    readable_settings,
    repository,
    services_of,
    settings_of,
)
from tests.charts.invariants.files import files_of
from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.leftout import VARIABLES, left_out
from tests.charts.invariants.objects import Finding, Rendering, items

from telemed.cli import DEPLOYABLES
from telemed.kernel.settings import Settings

# What all processes of one release must be told alike: tokens of one are verified by the others, and so on.
SHARED = (
    "ENVIRONMENT",
    "JWT_ALGORITHM",
    "JWT_AUDIENCE",
    "JWT_ISSUER",
    "PEPPER",
    "JWT_SECRET",
    "REDIS_URL",
    "REDIS_HOST",
    "REDIS_PORT",
    "DATABASE_URL",
    "REPLICA_DATABASE_URLS",
    "WORKER_DATABASE_URL",
    "MANAGEMENT_PORT",
)
# A proxy that is trusted may say who somebody is. Wider than any cluster's own network is everybody.
WIDEST_PROXIES = {4: 8, 6: 7}
# In production, what makes attacks dearer is at least what the application does by itself.
AT_LEAST = {"bcrypt_cost": 12, "audit_keep_months": 84, "idempotency_keep_hours": 24, "history_keep_months": 84}
# Ten minutes by default; a stolen token or a role that was taken away must not be good for long.
AT_MOST = {
    "access_token_seconds": 900,
    "refresh_grace_seconds": 60,
    "refresh_token_seconds": 90 * 86400,
    "replica_max_lag_seconds": 30,
    "bcrypt_threads": 8,
}


@invariant("A variable that is there twice is refused by Helm 4, and means the last one to everybody else.")
def variables_are_there_once(rendering: Rendering) -> Iterator[Finding]:
    for container in rendering.containers:
        for name, count in Counter(variable.get("name") for variable in items(container.spec, "env")).items():
            if count > 1:
                yield container.found("env", f"{name} is there {count} times")


@invariant("A variable without a name, or whose value is no text, is refused by the API server.")
def variables_are_text(rendering: Rendering) -> Iterator[Finding]:
    for container in rendering.containers:
        for number, variable in enumerate(items(container.spec, "env")):
            name, value = variable.get("name"), variable.get("value", "")
            if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                yield container.found(f"env[{number}].name", f"{name!r} is no name")
            if not isinstance(value, str):
                yield container.found(f"env[{number}].value", f"{value!r} is no text")
            if "value" in variable and "valueFrom" in variable:
                yield container.found(f"env[{number}]", f"{name} has a value and a reference")


@invariant("What the program is asked to do is something that it can do.")
def commands_exist(rendering: Rendering) -> Iterator[Finding]:
    mine = {repository(str(one.spec.get("image"))) for one in ours(rendering)}
    for container in rendering.containers:
        words = command_of(container)
        if not words and repository(str(container.spec.get("image"))) in mine:
            yield container.found("args", f"must begin with one of {', '.join(sorted(commands()))}")
        if words[:1] == ["serve"] and (len(words) < 2 or words[1] not in DEPLOYABLES):
            yield container.found("args", f"{words} serves nothing: there are {', '.join(DEPLOYABLES)}")
        if container.pod.is_lasting and words and words[0] not in LASTING_COMMANDS | VISITING_COMMANDS:
            yield container.found("args", f"{words[0]} ends by itself, and would be started again for ever")


@invariant("A misspelt setting is ignored without a word; the default is then in force.")
def settings_are_known(rendering: Rendering) -> Iterator[Finding]:
    known = {name.upper() for name in Settings.model_fields}
    for container in ours(rendering):
        for variable in items(container.spec, "env"):
            name = str(variable.get("name"))
            if name in known or name in LIBRARIES or name.startswith(OF_LIBRARIES):
                continue
            meant = get_close_matches(name, known, 1, cutoff=0.85)
            if meant or VARIABLES not in left_out(rendering, container.pod):
                yield container.found("env", f"{name} is read by nobody{f': {meant[0]}?' if meant else ''}")


@invariant(
    "A pod that the application refuses to start in never gets ready: its bounds are looked at here, in advance."
)
def settings_are_accepted(rendering: Rendering) -> Iterator[Finding]:
    for container in ours(rendering):
        if command_of(container)[0] not in {*LASTING_COMMANDS, "migrate"}:
            continue
        try:
            settings_of(container)
        except ValidationError as error:
            first = error.errors()[0]
            yield container.found("env", f"{'.'.join(map(str, first['loc'])).upper()}: {first['msg']}")


@invariant("Whoever listens on 127.0.0.1 in a pod is reached by nobody.")
def servers_listen_to_others(rendering: Rendering) -> Iterator[Finding]:
    for container in ours(rendering):
        # The image says 0.0.0.0 itself (services/Dockerfile).
        host = environment(container).get("HOST", "0.0.0.0")  # noqa: S104 - that is what is asked for
        if command_of(container)[0] in LASTING_COMMANDS and host not in ("0.0.0.0", "::"):  # noqa: S104 - the same
            yield container.found("env", f"HOST={host} is not reachable")


@invariant("What one process signs, stores or caches, another one verifies, reads or invalidates: they must agree.")
def components_agree(rendering: Rendering) -> Iterator[Finding]:
    for name in SHARED:
        seen: dict[tuple[str, str], list[str]] = {}
        for container in ours(rendering):
            given = {str(one.get("name")): one for one in items(container.spec, "env")}
            if command_of(container)[0] in LASTING_COMMANDS and (name in given or not is_secret(name)):
                variable = given.get(name, {})
                told = str(variable.get("valueFrom") or variable.get("value", ""))
                seen.setdefault((container.pod.namespace, told), []).append(container.name)
                if len([space for space, _ in seen if space == container.pod.namespace]) > 1:
                    yield container.found("env", f"{name} is not what the others are told")


@invariant("Who may speak for others is the gateway, never everybody.")
def trusted_proxies_are_few(rendering: Rendering) -> Iterator[Finding]:
    for container in ours(rendering):
        settings = readable_settings(container)
        for proxy in settings.trusted_proxies if settings else []:
            try:
                network = ip_network(proxy)
            except ValueError:
                yield container.found("env", f"TRUSTED_PROXIES: {proxy!r} is no network")
                continue
            if network.prefixlen < WIDEST_PROXIES[network.version] or network.is_global:
                yield container.found("env", f"TRUSTED_PROXIES: {proxy} is everybody")


@invariant(
    "Behind a gateway that is not trusted everybody has its address, and one attacker locks all out of logging in."
)
def the_gateway_is_trusted(rendering: Rendering) -> Iterator[Finding]:
    for container in ours(rendering):
        settings = readable_settings(container)
        is_behind = settings and settings.environment == "production" and services_of(command_of(container))
        if settings and is_behind and container.pod.is_lasting and not settings.trusted_proxies:
            yield container.found("env", "TRUSTED_PROXIES must name the network of the gateway")


@invariant("Who verifies tokens by other keys than they were signed with refuses everybody.")
def verifiers_have_the_same_keys(rendering: Rendering) -> Iterator[Finding]:
    seen: dict[str, object] = {}
    for container in ours(rendering):
        named = environment(container).get("JWT_PUBLIC_KEY_FILES", "")
        if command_of(container)[0] in LASTING_COMMANDS and named:
            sources = sorted(source for path, source in files_of(container).items() if path in named.split(","))
            if seen.setdefault(container.pod.namespace, sources) != sources:
                yield container.found("env", f"JWT_PUBLIC_KEY_FILES are {sources}, unlike the others'")


@invariant("In production nothing that protects people is weaker than the application's own default.")
def protection_is_not_loosened(rendering: Rendering) -> Iterator[Finding]:
    for container in ours(rendering):
        settings = readable_settings(container)
        if settings is None or settings.environment != "production":
            continue
        for name, bound in AT_LEAST.items():
            if getattr(settings, name) < bound:
                yield container.found("env", f"{name.upper()} must be at least {bound}")
        for name, bound in AT_MOST.items():
            if getattr(settings, name) > bound:
                yield container.found("env", f"{name.upper()} must be at most {bound}")


@invariant("A service that guards patients' data in production knows that it does.")
def everybody_knows_it_is_production(rendering: Rendering) -> Iterator[Finding]:
    for container in ours(rendering):
        is_told = environment(container).get("ENVIRONMENT") == "production"
        if is_production(rendering) and not is_told and command_of(container)[0] in {*LASTING_COMMANDS, "migrate"}:
            yield container.found("env", "ENVIRONMENT must be production as the others'")
