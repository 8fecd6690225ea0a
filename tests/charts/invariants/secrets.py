"""Who holds which secret: by reference, only what is needed, and never by accident less."""

import re
from collections.abc import Collection, Iterator

from tests.charts.invariants.application import (
    LASTING_COMMANDS,
    allowed_secrets,
    command_of,
    environment,
    is_secret,
    may_sign,
    needed_secrets,
    ours,
)
from tests.charts.invariants.files import files_of
from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.objects import Container, Finding, Object, Rendering, dig, items

_LOGIN = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
_TELLING = re.compile(r"PASSWORD|SECRET|TOKEN|PEPPER|PRIVATE|CREDENTIAL", re.IGNORECASE)
# May be missing in the Secret. The application does without replicas (0011); a migration says at once what it lacks,
# where its pod would wait for a Secret that nobody makes.
DISPENSABLE = {"serve": {"REPLICA_DATABASE_URLS"}, "work": {"REPLICA_DATABASE_URLS"}, "migrate": {"OWNER_DATABASE_URL"}}


def _algorithm(container: Container) -> str:
    return environment(container).get("JWT_ALGORITHM", "HS256")


def _given(container: Container) -> dict[str, dict[str, object]]:
    return {str(one.get("name")): one for one in items(container.spec, "env")}


@invariant("A chart that holds secrets puts them into Git, into Helm's history and into every pipeline's log.")
def no_secret_is_rendered(rendering: Rendering) -> Iterator[Finding]:
    for thing in rendering.of("Secret"):
        yield (thing, "kind", "is made by ExternalSecrets or by hand, never by a chart")


@invariant("A secret that is written into a pod is read by everybody who may look at pods.")
def secrets_are_referred_to(rendering: Rendering) -> Iterator[Finding]:
    for container in rendering.containers:
        for variable in items(container.spec, "env"):
            name, value = str(variable.get("name")), variable.get("value")
            if (value and (is_secret(name) or _LOGIN.search(str(value)))) or (
                value
                and name.isupper()
                and _TELLING.search(name)
                and not name.endswith(("_FILE", "_FILES", "_SECONDS"))
            ):
                yield container.found("env", f"{name} must come from a Secret")


@invariant("A whole Secret as environment gives keys that nobody counted, the owner's login among them.")
def secrets_come_key_by_key(rendering: Rendering) -> Iterator[Finding]:
    for container in rendering.containers:
        for number, source in enumerate(items(container.spec, "envFrom")):
            if "secretRef" in source or command_of(container):
                yield container.found(f"envFrom[{number}]", "must name each key (secretKeyRef)")


@invariant("A reference that is incomplete or optional leaves the application with a default that leads nowhere.")
def references_are_complete(rendering: Rendering) -> Iterator[Finding]:
    for container in rendering.containers:
        optional = DISPENSABLE.get((command_of(container) or [""])[0], set())
        for variable in items(container.spec, "env"):
            if "valueFrom" in variable or is_secret(str(variable.get("name"))):
                problem = _problem(variable["name"], variable.get("valueFrom") or {}, optional)
                if problem:
                    yield container.found("env", f"{variable['name']} {problem}")


def _problem(name: str, source: Object, optional: Collection[str]) -> str:
    reference = source.get("secretKeyRef") or source.get("configMapKeyRef")
    if is_secret(name) and "secretKeyRef" not in source:
        return "must come from a Secret"
    if not reference:
        return "" if source.get("fieldRef") or source.get("resourceFieldRef") else "comes from nowhere"
    if not reference.get("name") or not reference.get("key"):
        return "needs the Secret's name and key"
    return "must not be optional" if reference.get("optional") and name not in optional else ""


@invariant("A variable that holds another one's secret gives a pod a login that it must not have.")
def references_mean_their_name(rendering: Rendering) -> Iterator[Finding]:
    for container in ours(rendering):
        for name, variable in _given(container).items():
            key = dig(variable, "valueFrom.secretKeyRef.key", name)
            if is_secret(name) and key != name and is_secret(key):
                yield container.found("env", f"{name} holds {key}")


@invariant("A key that a pod does not need is a key that it can lose: the owner's is the migration's alone.")
def pods_hold_only_what_they_need(rendering: Rendering) -> Iterator[Finding]:
    for container in ours(rendering):
        held = {name for name in _given(container) if is_secret(name) and name != "POSTGRES_PASSWORD"}
        for name in sorted(held - allowed_secrets(command_of(container), _algorithm(container))):
            yield container.found("env", f"{name} is not for {' '.join(command_of(container))}")


@invariant("Without its addresses the application asks its own pod for a database.")
def pods_hold_what_they_need(rendering: Rendering) -> Iterator[Finding]:
    for container in ours(rendering):
        given = _given(container)
        needed = needed_secrets(command_of(container), _algorithm(container))
        if "POSTGRES_HOST" in given:  # one login for everybody, as in a plain .env
            needed = {name for name in needed if not name.endswith("DATABASE_URL")} | {"POSTGRES_PASSWORD"}
        if "REDIS_HOST" in given:
            needed -= {"REDIS_URL"}
        if environment(container).get("JWT_ALGORITHM", "HS256") == "HS256":
            needed -= {"PEPPER"}  # derived from JWT_SECRET then; whether all do the same is asked elsewhere
        for name in sorted(needed - set(given)):
            yield container.found("env", f"{name} is missing")


@invariant("Only who signs tokens holds the key; everybody else could mint them.")
def only_auth_can_sign(rendering: Rendering) -> Iterator[Finding]:
    for container in ours(rendering):
        words, told = command_of(container), environment(container)
        is_key_there = "JWT_PRIVATE_KEY_FILE" in told
        if is_key_there and not may_sign(words):
            yield container.found("env", "JWT_PRIVATE_KEY_FILE is auth's alone")
        if not is_key_there and may_sign(words) and _algorithm(container) == "EdDSA":
            yield container.found("env", "JWT_PRIVATE_KEY_FILE is missing")
        if may_sign(words):
            continue
        for path, (source, _, key) in files_of(container).items():
            if "private" in key or "signing" in source:
                yield container.found("volumeMounts", f"{path} is a key to sign with")


@invariant("With EdDSA only auth can make a token; with a shared secret everybody who verifies one can.")
def verifiers_cannot_sign(rendering: Rendering) -> Iterator[Finding]:
    for container in ours(rendering):
        if "JWT_SECRET" in _given(container) and _algorithm(container) == "EdDSA":
            yield container.found("env", "JWT_SECRET is not needed with JWT_ALGORITHM=EdDSA")


@invariant("A file that a setting names is mounted, or the process ends at its start.")
def named_files_are_mounted(rendering: Rendering) -> Iterator[Finding]:
    for container in ours(rendering):
        if command_of(container)[0] not in LASTING_COMMANDS:
            continue  # a migration reads the names and not the files
        mounted = files_of(container)
        folders = {path.rstrip("/") for path, (_, _, key) in mounted.items() if not key}
        for name, value in environment(container).items():
            for path in value.split(",") if name.endswith(("_KEY_FILE", "_KEY_FILES")) else []:
                if path.strip() not in mounted and path.strip().rpartition("/")[0] not in folders:
                    yield container.found("env", f"{name}: {path} is not mounted")


@invariant("Key files come from Secrets, readable by the pod's user and by nobody else.")
def secret_files_are_guarded(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        for number, volume in enumerate(items(pod.spec, "volumes")):
            path = f"spec.volumes[{number}]"
            block = "secret" if "secret" in volume else "projected"
            parts = [volume, *items(volume, "projected.sources")]
            if not any("secret" in part for part in parts):
                continue
            if any(dig(part, "secret.optional", False) is not False for part in parts):
                yield pod.found(path, "must not be optional")
            mode = dig(volume, f"{block}.defaultMode")
            if not isinstance(mode, int) or mode & 0o007:
                yield pod.found(f"{path}.{block}.defaultMode", "must keep others out (0440)")


@invariant(
    "A key that its own process may not read keeps it from starting: root owns the file, the pod's group reads it."
)
def secret_files_can_be_read(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        for number, volume in enumerate(items(pod.spec, "volumes")):
            if "secret" not in volume:
                continue
            path, source = f"spec.volumes[{number}].secret", dig(volume, "secret", {})
            if not source.get("secretName"):
                yield pod.found(f"{path}.secretName", "is missing")
            mode = source.get("defaultMode", 0o644)
            if (
                isinstance(mode, int)
                and not mode & 0o004
                and not (mode & 0o040 and dig(pod.spec, "securityContext.fsGroup"))
            ):
                yield pod.found(f"{path}.defaultMode", f"{mode:04o}: only root can read it")


@invariant("A Secret that is mounted as a whole gives every key that somebody adds to it one day.")
def secret_files_are_listed(rendering: Rendering) -> Iterator[Finding]:
    for container in ours(rendering):
        for mount in container.mounts:
            volume = container.pod.volumes.get(str(mount.get("name")), {})
            if "secret" in volume and not items(volume, "secret.items"):
                yield container.found("volumeMounts", f"{mount.get('name')} must list its keys (items)")


@invariant("A pod that could write to its keys could change whose tokens it believes.")
def secret_files_are_read_only(rendering: Rendering) -> Iterator[Finding]:
    for container in rendering.containers:
        for number, mount in enumerate(container.mounts):
            volume = container.pod.volumes.get(str(mount.get("name")), {})
            if {"secret", "projected", "configMap"} & set(volume) and mount.get("readOnly") is not True:
                yield container.found(f"volumeMounts[{number}].readOnly", "must be true")
