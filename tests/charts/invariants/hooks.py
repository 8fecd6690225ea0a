"""Jobs and hooks: what runs once, in order, with an end."""

from collections.abc import Iterator

from tests.charts.invariants.application import command_of, ours
from tests.charts.invariants.files import config_maps
from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.objects import (
    Finding,
    Object,
    Pod,
    Rendering,
    annotations_of,
    chosen,
    dig,
    is_hook,
    is_test,
    items,
    name_of,
)

from telemed.migrations.attempt import TRY_AGAIN

# What Helm 3 and 4 know. A misspelt one is ignored, and the object becomes a part of nothing.
EVENTS = {
    "pre-install", "post-install", "pre-delete", "post-delete", "pre-upgrade", "post-upgrade", "pre-rollback",
    "post-rollback", "test",
}  # fmt: skip
DELETE_POLICIES = {"before-hook-creation", "hook-succeeded", "hook-failed"}
LONGEST_JOB_SECONDS = 3600


def events_of(thing: Object) -> set[str]:
    """Give when Helm runs a hook."""
    return {event.strip() for event in annotations_of(thing).get("helm.sh/hook", "").split(",")} - {""}


def weight_of(thing: Object) -> int:
    """Give a hook's place in the order."""
    return int(annotations_of(thing).get("helm.sh/hook-weight", "0"))


@invariant("A hook that Helm does not know never runs.")
def hooks_are_known(rendering: Rendering) -> Iterator[Finding]:
    for thing in filter(is_hook, rendering.objects):
        if not events_of(thing) or not events_of(thing) <= EVENTS:
            yield (thing, "metadata.annotations", f"helm.sh/hook: {sorted(events_of(thing))}")
        weight = annotations_of(thing).get("helm.sh/hook-weight", "0")
        if not weight.removeprefix("-").isdigit():
            yield (thing, "metadata.annotations", f"helm.sh/hook-weight: {weight!r} is no number")
    for thing in rendering.objects:
        if not is_hook(thing) and any(key.startswith("helm.sh/hook") for key in annotations_of(thing)):
            yield (thing, "metadata.annotations", "says how to run a hook, and is none")


@invariant("A hook that is left behind is in the way of the next one: a Job cannot be changed.")
def hooks_make_room(rendering: Rendering) -> Iterator[Finding]:
    for thing in filter(is_hook, rendering.objects):
        policies = {one.strip() for one in annotations_of(thing).get("helm.sh/hook-delete-policy", "").split(",")} - {
            ""
        }
        if "before-hook-creation" not in policies or not policies <= DELETE_POLICIES:
            yield (thing, "metadata.annotations", f"helm.sh/hook-delete-policy: {sorted(policies)}")
        if "hook-failed" in policies:
            yield (thing, "metadata.annotations", "helm.sh/hook-delete-policy: the log of a failure must stay")


@invariant("A migration runs before the new code, at every install and upgrade; after it, --wait would wait for ever.")
def migrations_come_first(rendering: Rendering) -> Iterator[Finding]:
    for container in ours(rendering):
        owner = container.pod.owner
        if command_of(container)[0] != "migrate":
            continue
        if is_hook(owner) and events_of(owner) != {"pre-install", "pre-upgrade"}:
            yield (owner, "metadata.annotations", "helm.sh/hook must be pre-install,pre-upgrade")
        if owner["kind"] != "Job":
            yield (owner, "kind", "must be a Job: it runs once")


@invariant("There is one history of the database, and one migration at a time in a release.")
def there_is_one_migration(rendering: Rendering) -> Iterator[Finding]:
    found = [container for container in ours(rendering) if command_of(container)[0] == "migrate"]
    for container in found[1:]:
        yield container.found("args", "is there twice")
    for container in found:
        for field in ("parallelism", "completions"):
            if dig(container.pod.owner, f"spec.{field}", 1) != 1:
                yield (container.pod.owner, f"spec.{field}", "must be 1")


def _needs(pod: Pod) -> Iterator[tuple[str, str]]:
    account = pod.spec.get("serviceAccountName")
    if account and account != "default":
        yield "ServiceAccount", str(account)
    for name in sorted(config_maps(pod.spec)):
        yield "ConfigMap", name
    for volume in pod.volumes.values():
        claim = dig(volume, "persistentVolumeClaim.claimName")
        if claim:
            yield "PersistentVolumeClaim", str(claim)


@invariant("A hook runs when the release's own objects are not there yet: what it needs is a hook that came before.")
def hooks_find_what_they_need(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        is_early = bool(events_of(pod.owner) & {"pre-install", "pre-upgrade"})
        for kind, name in _needs(pod):
            needed = rendering.named(kind, name, pod.namespace)
            if needed is not None and is_early and not _comes_before(needed, pod.owner):
                yield pod.found("spec", f"needs {kind} {name}, which is not there yet")
            if needed is not None and is_hook(needed) and not is_hook(pod.owner):
                yield pod.found("spec", f"needs {kind} {name}, a hook, which is gone when it is done")


def _comes_before(needed: Object, hook: Object) -> bool:
    return events_of(hook) <= events_of(needed) and weight_of(needed) < weight_of(hook)


@invariant("Where traffic is denied by default, a hook's own policy must be there before it.")
def hooks_are_let_through(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        if not is_hook(pod.owner) or is_test(pod.owner):
            continue
        policies = [
            policy
            for policy in rendering.of("NetworkPolicy")
            if pod in chosen(dig(policy, "spec.podSelector"), [pod], dig(policy, "metadata.namespace", ""))
        ]
        if policies and not any(_comes_before(policy, pod.owner) for policy in policies):
            yield pod.found("metadata", f"its policy {name_of(policies[0])} comes after it")


@invariant("A Job without an end holds a release for ever; one that is tried too often hides why it fails.")
def jobs_end(rendering: Rendering) -> Iterator[Finding]:
    for job in rendering.of("Job", "CronJob"):
        path = "spec" if job["kind"] == "Job" else "spec.jobTemplate.spec"
        spec = dig(job, path, {})
        deadline = spec.get("activeDeadlineSeconds")
        if not isinstance(deadline, int) or not 10 <= deadline <= LONGEST_JOB_SECONDS:
            yield (job, f"{path}.activeDeadlineSeconds", f"must be 10 to {LONGEST_JOB_SECONDS}, not {deadline}")
        if not isinstance(spec.get("backoffLimit"), int) or not 0 <= spec["backoffLimit"] <= 6:
            yield (job, f"{path}.backoffLimit", "must be 0 to 6")
        if spec.get("suspend") or dig(job, "spec.suspend"):
            yield (job, f"{path}.suspend", "must not be set")


@invariant("A test that hangs holds whoever waits for it.")
def tests_end(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.of("Pod"):
        deadline = dig(pod, "spec.activeDeadlineSeconds")
        if not isinstance(deadline, int) or not 10 <= deadline <= LONGEST_JOB_SECONDS:
            yield (pod, "spec.activeDeadlineSeconds", f"must be 10 to {LONGEST_JOB_SECONDS}, not {deadline}")


@invariant("A migration that can never succeed is not tried again; one that was evicted, or came too early, is.")
def migrations_know_when_to_give_up(rendering: Rendering) -> Iterator[Finding]:
    for container in ours(rendering):
        job, policy = container.pod.owner, dig(container.pod.owner, "spec.podFailurePolicy")
        if command_of(container)[0] != "migrate" or job["kind"] != "Job":
            continue
        rules = {rule.get("action"): rule for rule in items(policy, "rules")}
        codes = dig(rules.get("FailJob"), "onExitCodes", {})
        spared = {0, TRY_AGAIN} if codes.get("operator") == "NotIn" else set()
        named = set(codes.get("values") or [])
        if not (spared and named == spared) and not (
            codes.get("operator") == "In" and named >= {1, 2} and TRY_AGAIN not in named
        ):
            yield (job, "spec.podFailurePolicy", f"must fail at once unless the exit code is {TRY_AGAIN}")
        if codes.get("containerName", container.name) != container.name:
            yield (job, "spec.podFailurePolicy", f"{codes['containerName']} is not there")
        if dig(rules.get("Ignore"), "onPodConditions", [{}])[0].get("type") != "DisruptionTarget":
            yield (job, "spec.podFailurePolicy", "must ignore that its pod was evicted")


@invariant("A Job's pod that is started again in place loses its log; one that Always restarts is refused.")
def jobs_are_not_restarted_in_place(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        if not pod.is_lasting and pod.spec.get("restartPolicy") != "Never":
            yield pod.found("spec.restartPolicy", "must be Never")


@invariant("A Job that is left for ever is a pod that is left for ever; one that goes at once, a log that is gone.")
def finished_jobs_are_cleared(rendering: Rendering) -> Iterator[Finding]:
    for job in rendering.of("Job"):
        after = dig(job, "spec.ttlSecondsAfterFinished")
        if after is not None and int(after) < 60:
            yield (job, "spec.ttlSecondsAfterFinished", "must leave a minute to read the log")
        if after is not None and is_hook(job) and int(after) < 300:
            yield (job, "spec.ttlSecondsAfterFinished", "Helm waits for the Job that is gone")
