"""The database: acknowledged writes survive the loss of any server, and no number of clients is too many for it.

What a single instance cannot have it need not have: a laptop has one. Two or more are production's shape.
Source: the API reference of CloudNativePG, and services/compose/, which holds the same numbers for one host.
"""

import re
from collections.abc import Iterator

from tests.charts.invariants.files import quantity
from tests.charts.invariants.images import tag_of
from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.leftout import BACKUP, NODE_SPREAD, QUORUM, said
from tests.charts.invariants.objects import Finding, Object, Rendering, dig, items, name_of

from telemed.local import roles

OLDEST_POSTGRES = 15  # older ones lack what the migrations use
# For migrations, the operator, replication and people: never taken by poolers.
RESERVED_CONNECTIONS = 15
# Turned off, each of them makes an acknowledged write a matter of luck.
DURABILITY = {"synchronous_commit": {"on", "remote_apply"}, "fsync": {"on"}, "full_page_writes": {"on"}}
LEAST_RETENTION_DAYS = 7
_DAYS = {"d": 1, "w": 7, "m": 30}


def clusters(rendering: Rendering) -> list[Object]:
    """Give the databases."""
    return [thing for thing in rendering.of("Cluster") if "cnpg.io" in thing["apiVersion"]]


def _is_shared(cluster: Object) -> bool:
    return int(dig(cluster, "spec.instances", 1)) > 1 or bool(dig(cluster, "spec.postgresql.synchronous"))


def _must_have(cluster: Object, protection: str) -> bool:
    return _is_shared(cluster) and protection not in said(cluster)


def _parameters(cluster: Object) -> dict[str, str]:
    return dict(dig(cluster, "spec.postgresql.parameters", {}))


def _settings(pooler: Object) -> dict[str, str]:
    return dict(dig(pooler, "spec.pgbouncer.parameters", {}))


@invariant("With three servers any one may be lost: with two, its loss stops the writes or loses them.")
def databases_have_three_servers(rendering: Rendering) -> Iterator[Finding]:
    for cluster in clusters(rendering):
        instances = dig(cluster, "spec.instances")
        least = 3 if _must_have(cluster, QUORUM) else 1
        if not isinstance(instances, int) or not least <= instances <= 9:
            yield (cluster, "spec.instances", f"must be three or more (or one, on a laptop), not {instances}")


@invariant("A commit is acknowledged when a replica has it on its disk; otherwise a failover loses it.")
def commits_wait_for_a_replica(rendering: Rendering) -> Iterator[Finding]:
    for cluster in clusters(rendering):
        if not _must_have(cluster, QUORUM):
            continue
        given = dig(cluster, "spec.postgresql.synchronous", {})
        instances, number = int(dig(cluster, "spec.instances", 1)), given.get("number")
        if given.get("method") != "any":
            yield (cluster, "spec.postgresql.synchronous.method", "must be any: a quorum")
        if not isinstance(number, int) or not 1 <= number <= instances - 2:
            yield (cluster, "spec.postgresql.synchronous.number", f"must be 1 to {instances - 2}, not {number}")
        if given.get("dataDurability", "required") != "required":
            yield (cluster, "spec.postgresql.synchronous.dataDurability", "must be required")
        if given.get("failoverQuorum") is not True:
            yield (cluster, "spec.postgresql.synchronous.failoverQuorum", "must be true")


@invariant("What is acknowledged is on a disk, whatever else is tuned.")
def durability_is_not_tuned_away(rendering: Rendering) -> Iterator[Finding]:
    for cluster in clusters(rendering):
        for name, allowed in DURABILITY.items():
            if str(_parameters(cluster).get(name, "on")) not in allowed:
                yield (cluster, f"spec.postgresql.parameters.{name}", f"must be {' or '.join(sorted(allowed))}")
        if dig(cluster, "spec.bootstrap.initdb") is not None and not dig(
            cluster, "spec.bootstrap.initdb.dataChecksums"
        ):
            yield (cluster, "spec.bootstrap.initdb.dataChecksums", "must be true: a disk that lies is found out")


@invariant("A session that is lost must not hold locks or its connection for ever.")
def sessions_are_bounded(rendering: Rendering) -> Iterator[Finding]:
    for cluster in clusters(rendering):
        given = _parameters(cluster)
        idle = str(given.get("idle_in_transaction_session_timeout", "0"))
        if not 1 <= _seconds(idle) <= 600:
            yield (cluster, "spec.postgresql.parameters.idle_in_transaction_session_timeout", f"{idle}: 1 to 600 s")
        for name in ("wal_sender_timeout", "wal_receiver_timeout"):
            if not 1 <= _seconds(str(given.get(name, "60s"))) <= 60:
                yield (cluster, f"spec.postgresql.parameters.{name}", "must be 1 to 60 s")
        if "max_slot_wal_keep_size" in given and str(given["max_slot_wal_keep_size"]) == "-1":
            yield (cluster, "spec.postgresql.parameters.max_slot_wal_keep_size", "must be bounded")
        if _is_shared(cluster) and "max_slot_wal_keep_size" not in given:
            yield (
                cluster,
                "spec.postgresql.parameters.max_slot_wal_keep_size",
                "must be bounded: a replica may be away",
            )


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)(ms|s|min|h)?", text)
    if not found:
        raise ValueError(f"{text!r} is no time")
    return float(found[1]) * {"ms": 0.001, "s": 1, "min": 60, "h": 3600}.get(found[2] or "ms", 1)


@invariant("Nobody is superuser over the network, and nobody is let in without a password.")
def databases_are_not_open(rendering: Rendering) -> Iterator[Finding]:
    for cluster in clusters(rendering):
        if dig(cluster, "spec.enableSuperuserAccess", False) is not False:
            yield (cluster, "spec.enableSuperuserAccess", "must be false")
        if any("trust" in rule for rule in items(cluster, "spec.postgresql.pg_hba")):
            yield (cluster, "spec.postgresql.pg_hba", "must trust nobody")
        for number, role in enumerate(items(cluster, "spec.managed.roles")):
            path, name = f"spec.managed.roles[{number}]", str(role.get("name"))
            if role.get("login") and (not dig(role, "passwordSecret.name") or role.get("disablePassword")):
                yield (cluster, f"{path}.passwordSecret", f"{name} must have a password")


@invariant("A role of the database may do what it is for: only the owner gives others their grants.")
def database_roles_have_no_power(rendering: Rendering) -> Iterator[Finding]:
    for cluster in clusters(rendering):
        for number, role in enumerate(items(cluster, "spec.managed.roles")):
            path, name = f"spec.managed.roles[{number}]", str(role.get("name"))
            for power in ("superuser", "createdb", "replication", "bypassrls"):
                if role.get(power):
                    yield (cluster, f"{path}.{power}", f"{name} must not have it")
            if bool(role.get("createrole")) != (name == roles.OWNER):
                yield (cluster, f"{path}.createrole", f"is for {roles.OWNER} alone")


@invariant("The roles are those that the migrations give their grants to, each login in its group.")
def database_roles_are_the_applications(rendering: Rendering) -> Iterator[Finding]:
    known = {login: {group} for login, group in roles.LOGINS.items()} | {roles.OWNER: set(roles.LOGINS.values())}
    for cluster in clusters(rendering):
        given = {str(role.get("name")): role for role in items(cluster, "spec.managed.roles")}
        for name, groups in known.items():
            role = given.get(name, {})
            if set(role.get("inRoles") or []) != groups or role.get("login") is not True:
                yield (cluster, "spec.managed.roles", f"{name} must log in, and be in {', '.join(sorted(groups))}")
            if role.get("ensure", "present") != "present":
                yield (cluster, "spec.managed.roles", f"{name} must be there")


@invariant("Each login has a password of its own: one that leaks is one door, not four.")
def database_roles_share_no_password(rendering: Rendering) -> Iterator[Finding]:
    for cluster in clusters(rendering):
        secrets = [dig(role, "passwordSecret.name") for role in items(cluster, "spec.managed.roles")]
        for name in sorted({str(one) for one in secrets if secrets.count(one) > 1}):
            yield (cluster, "spec.managed.roles", f"{name} is the password of more than one role")
        owner = dig(cluster, "spec.bootstrap.initdb.owner", roles.OWNER)
        if owner != roles.OWNER:
            yield (cluster, "spec.bootstrap.initdb.owner", f"must be {roles.OWNER}")


@invariant("A database without its memory is killed, one without a place on a disk does not start.")
def databases_have_resources(rendering: Rendering) -> Iterator[Finding]:
    for cluster in clusters(rendering):
        spec = cluster["spec"]
        if quantity(dig(spec, "storage.size", 0)) < 2**30:
            yield (cluster, "spec.storage.size", "must be at least 1Gi")
        if dig(spec, "resources.limits.cpu") is not None:
            yield (cluster, "spec.resources.limits.cpu", "must not be set")
        for resource in ("cpu", "memory"):
            if quantity(dig(spec, f"resources.requests.{resource}", 0)) <= 0:
                yield (cluster, f"spec.resources.requests.{resource}", "must be above 0")
        limit, asked = dig(spec, "resources.limits.memory"), dig(spec, "resources.requests.memory", 0)
        if limit is None or (_is_shared(cluster) and quantity(limit) != quantity(asked)):
            yield (cluster, "spec.resources.limits.memory", f"must be the request, {asked}, not {limit}")
        if dig(spec, "seccompProfile.type", "RuntimeDefault") != "RuntimeDefault":
            yield (cluster, "spec.seccompProfile.type", "must be RuntimeDefault")


@invariant("Two servers of a database that share a node are lost together.")
def databases_are_spread(rendering: Rendering) -> Iterator[Finding]:
    for cluster in clusters(rendering):
        if _must_have(cluster, NODE_SPREAD):
            yield from _placed(cluster)


def _placed(cluster: Object) -> Iterator[Finding]:
    affinity = dig(cluster, "spec.affinity", {})
    if affinity.get("enablePodAntiAffinity", True) is not True or affinity.get("podAntiAffinityType") != "required":
        yield (cluster, "spec.affinity.podAntiAffinityType", "must be required")
    if affinity.get("topologyKey") not in ("kubernetes.io/hostname", "topology.kubernetes.io/zone"):
        yield (cluster, "spec.affinity.topologyKey", "must be the node or the zone")
    if dig(cluster, "spec.enablePDB", True) is not True:
        yield (cluster, "spec.enablePDB", "must be true")
    if not dig(cluster, "spec.walStorage.size"):
        yield (cluster, "spec.walStorage", "must be a volume of its own")
    if dig(cluster, "spec.replicationSlots.highAvailability.enabled", True) is not True:
        yield (cluster, "spec.replicationSlots.highAvailability.enabled", "must be true")


@invariant("A primary that is ill is replaced within seconds, and one that ends has the time to do so.")
def failovers_are_prompt(rendering: Rendering) -> Iterator[Finding]:
    bounds = {
        "switchoverDelay": (5, 120),
        "failoverDelay": (0, 30),
        "stopDelay": (30, 1800),
        "smartShutdownTimeout": (0, 60),
        "startDelay": (60, 7200),
    }
    # What the operator takes if nothing is said.
    assumed = {
        "switchoverDelay": 3600,
        "failoverDelay": 0,
        "stopDelay": 1800,
        "smartShutdownTimeout": 180,
        "startDelay": 3600,
    }
    for cluster in clusters(rendering):
        for field, (least, most) in bounds.items():
            if not least <= int(dig(cluster, f"spec.{field}", assumed[field])) <= most:
                yield (cluster, f"spec.{field}", f"must be {least} to {most}")
        if int(dig(cluster, "spec.smartShutdownTimeout", 180)) >= int(dig(cluster, "spec.stopDelay", 1800)):
            yield (cluster, "spec.smartShutdownTimeout", "must be below stopDelay")


@invariant("A log without a base backup restores nothing, and a backup without the log only the night before.")
def backups_are_made(rendering: Rendering) -> Iterator[Finding]:
    for cluster in clusters(rendering):
        name, namespace = name_of(cluster), dig(cluster, "metadata.namespace", "")
        archives = [plugin for plugin in items(cluster, "spec.plugins") if plugin.get("isWALArchiver")]
        plans = [plan for plan in rendering.of("ScheduledBackup") if dig(plan, "spec.cluster.name") == name]
        if (_must_have(cluster, BACKUP) or plans or rendering.of("ObjectStore")) and not archives:
            yield (cluster, "spec.plugins", "must archive the write-ahead log")
        if archives and not plans:
            yield (cluster, "spec.plugins", "there is no ScheduledBackup")
        for plugin in archives:
            store = dig(plugin, "parameters.barmanObjectName", "")
            is_there = rendering.named("ObjectStore", store, namespace) is not None
            if plugin.get("enabled", True) is not True or not is_there:
                yield (cluster, "spec.plugins", f"{store!r} is no ObjectStore, or the plugin is off")


@invariant("A backup that is suspended, or planned for a database that is not there, is never made.")
def backups_are_planned(rendering: Rendering) -> Iterator[Finding]:
    for plan in rendering.of("ScheduledBackup"):
        if not any(name_of(cluster) == dig(plan, "spec.cluster.name") for cluster in clusters(rendering)):
            yield (plan, "spec.cluster.name", "is no database")
        if len(str(dig(plan, "spec.schedule", "")).split()) != 6:
            yield (plan, "spec.schedule", "has six fields, seconds first")
        if dig(plan, "spec.suspend") or not dig(plan, "spec.pluginConfiguration.name"):
            yield (plan, "spec.suspend", "must be made, by a plugin that is named")
        if dig(plan, "spec.method") != "plugin":
            yield (plan, "spec.method", "must be plugin: the operator's own way is going away")
        if dig(plan, "spec.backupOwnerReference", "none") == "self":
            yield (plan, "spec.backupOwnerReference", "would delete the backups with their schedule")


@invariant("A backup holds all health data there is: it is encrypted, and kept for long enough to notice a mistake.")
def backups_are_kept(rendering: Rendering) -> Iterator[Finding]:
    for store in rendering.of("ObjectStore"):
        kept = re.fullmatch(r"(\d+)([dwm])", str(dig(store, "spec.retentionPolicy", "")))
        if not kept or int(kept[1]) * _DAYS[kept[2]] < LEAST_RETENTION_DAYS:
            yield (store, "spec.retentionPolicy", f"must be at least {LEAST_RETENTION_DAYS}d")
        for part in ("wal", "data"):
            if not dig(store, f"spec.configuration.{part}.encryption"):
                yield (store, f"spec.configuration.{part}.encryption", "must be set")
        if not dig(store, "spec.configuration.destinationPath"):
            yield (store, "spec.configuration.destinationPath", "is missing")


@invariant("A release that is taken away must not take the patients' data with it.")
def databases_outlive_their_release(rendering: Rendering) -> Iterator[Finding]:
    for cluster in clusters(rendering):
        if dig(cluster, "metadata.annotations", {}).get("helm.sh/resource-policy") != "keep":
            yield (cluster, "metadata.annotations", "helm.sh/resource-policy must be keep")
        if str(dig(cluster, "metadata.annotations", {}).get("cnpg.io/hibernation", "off")) == "on":
            yield (cluster, "metadata.annotations", "cnpg.io/hibernation must be off")


@invariant("Postgres of an unknown version is one that the migrations were never run on.")
def databases_are_of_a_known_version(rendering: Rendering) -> Iterator[Finding]:
    for cluster in clusters(rendering):
        image = str(dig(cluster, "spec.imageName", ""))
        if not image and not dig(cluster, "spec.imageCatalogRef"):
            yield (cluster, "spec.imageName", "must be set: the operator's own changes with it")
        version = re.match(r"(\d+)\.\d+", tag_of(image))
        if image and "@" not in image and (not version or int(version[1]) < OLDEST_POSTGRES):
            yield (cluster, "spec.imageName", f"{image}: must be a release of {OLDEST_POSTGRES} or later")
