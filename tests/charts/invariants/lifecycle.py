"""How pods come and go: new ones before old ones, and old ones with the time to finish."""

from collections.abc import Iterator

from tests.charts.invariants.application import (
    LASTING_COMMANDS,
    command_of,
    is_production,
    ours,
    readable_settings,
    services_of,
)
from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.leftout import DRAIN, left_out, must_have
from tests.charts.invariants.objects import Container, Finding, Rendering, dig

from telemed.kernel.http.drain import CUT_SHORT_WITHIN_SECONDS, LAST_ACCEPTED_WITHIN_SECONDS
from telemed.kernel.settings import Settings

# Beyond what the application promises to be done in: the kubelet counts from before preStop.
MARGIN_SECONDS = CUT_SHORT_WITHIN_SECONDS + LAST_ACCEPTED_WITHIN_SECONDS + 2.95
# Gateways and kube-proxies hear of an ending pod within a few seconds; until then they send to it.
HEARD_WITHIN_SECONDS = 5
LONGEST_PRE_STOP_SECONDS = 60
# Beyond it, a drained node waits for one pod for ever.
LONGEST_GRACE_SECONDS = 600
PROXIES_IDLE_SECONDS = 60


def pre_stop_seconds(container: Container) -> float:
    """Give how long the container sleeps before SIGTERM."""
    return float(dig(container.spec, "lifecycle.preStop.sleep.seconds", 0))


def _lasting(rendering: Rendering) -> Iterator[tuple[Container, Settings]]:
    for container in ours(rendering):
        settings = readable_settings(container)
        if settings and command_of(container)[0] in LASTING_COMMANDS and container.pod.is_lasting:
            yield container, settings


@invariant("Killed at the end of its grace, a pod takes with it what it was doing.")
def grace_covers_the_end(rendering: Rendering) -> Iterator[Finding]:
    for container, settings in _lasting(rendering):
        needed = pre_stop_seconds(container) + settings.drain_seconds + settings.shutdown_grace_seconds + MARGIN_SECONDS
        given = float(container.pod.spec.get("terminationGracePeriodSeconds", 30))
        if not needed <= given <= LONGEST_GRACE_SECONDS:
            yield container.pod.found(
                "spec.terminationGracePeriodSeconds", f"is {given}, must be {needed} to {LONGEST_GRACE_SECONDS}"
            )


@invariant("Requests still arrive while the news of a pod's end travels; whoever stops at once resets them.")
def requests_arrive_during_the_news(rendering: Rendering) -> Iterator[Finding]:
    for container, _ in _lasting(rendering):
        asleep = pre_stop_seconds(container)
        least = 0 if DRAIN in left_out(rendering, container.pod) else HEARD_WITHIN_SECONDS
        if not least <= asleep <= LONGEST_PRE_STOP_SECONDS:
            yield container.found(
                "lifecycle.preStop.sleep.seconds",
                f"is {asleep}, must be {least} to {LONGEST_PRE_STOP_SECONDS}",
            )


@invariant("There is no shell in the image, and a hook that fails is only an event: the native sleep is all there is.")
def pre_stop_needs_no_shell(rendering: Rendering) -> Iterator[Finding]:
    for container, _ in _lasting(rendering):
        hooks = dig(container.spec, "lifecycle", {})
        if set(hooks) - {"preStop"} or set(hooks.get("preStop") or {}) - {"sleep"}:
            yield container.found("lifecycle", "must be preStop.sleep and nothing else")


@invariant("After SIGTERM the gateway's next two looks at readiness must find the process still serving.")
def drain_outlasts_the_gateways_checks(rendering: Rendering) -> Iterator[Finding]:
    least = float(Settings.model_fields["drain_seconds"].default)
    for container, settings in _lasting(rendering):
        is_asked = services_of(command_of(container)) and must_have(rendering, container.pod, DRAIN)
        if is_asked and settings.drain_seconds < least:
            yield container.found("env", f"DRAIN_SECONDS is {settings.drain_seconds}, must be at least {least}")


@invariant("A request may run until its deadline; the grace after the drain must be longer than that.")
def grace_outlasts_a_request(rendering: Rendering) -> Iterator[Finding]:
    for container, settings in _lasting(rendering):
        if settings.shutdown_grace_seconds <= settings.request_deadline_seconds:
            yield container.found("env", "SHUTDOWN_GRACE_SECONDS must be above REQUEST_DEADLINE_SECONDS")


@invariant(
    "The deadline lies above every wait inside, so that the inner one is the one that is told, and below a gateway's."
)
def deadline_outlasts_the_waits(rendering: Rendering) -> Iterator[Finding]:
    for container, settings in _lasting(rendering):
        inner = max(settings.database_command_timeout_seconds, settings.database_pool_timeout_seconds)
        if not inner < settings.request_deadline_seconds <= PROXIES_IDLE_SECONDS:
            yield container.found(
                "env", f"REQUEST_DEADLINE_SECONDS must be above {inner} and at most {PROXIES_IDLE_SECONDS}"
            )
        if settings.redis_timeout_seconds > 1:
            yield container.found("env", "REDIS_TIMEOUT_SECONDS must be at most 1: the cache is to save time")


@invariant("Who closes an idle connection first must be the proxy: otherwise its next request meets a reset.")
def keep_alive_outlasts_the_proxys(rendering: Rendering) -> Iterator[Finding]:
    for container, settings in _lasting(rendering):
        if settings.keep_alive_seconds <= PROXIES_IDLE_SECONDS:
            yield container.found("env", f"KEEP_ALIVE_SECONDS must be above {PROXIES_IDLE_SECONDS}")


@invariant("An update takes no pod away before its successor is ready.")
def updates_lose_no_pod(rendering: Rendering) -> Iterator[Finding]:
    for deployment in rendering.of("Deployment"):
        strategy = dig(deployment, "spec.strategy", {})
        rolling = strategy.get("rollingUpdate") or {}
        if strategy.get("type") != "RollingUpdate":
            yield (deployment, "spec.strategy.type", "must be RollingUpdate")
        if rolling.get("maxUnavailable") not in (0, "0%"):
            yield (deployment, "spec.strategy.rollingUpdate.maxUnavailable", "must be 0")
        if str(rolling.get("maxSurge", 0)).rstrip("%") in ("0", ""):
            yield (deployment, "spec.strategy.rollingUpdate.maxSurge", "must be above 0, or nothing moves")
        elif str(rolling["maxSurge"]).startswith("-"):
            yield (deployment, "spec.strategy.rollingUpdate.maxSurge", "must be above 0")


@invariant("A pod that dies in its first seconds must stop the update, and an update that is stuck must say so.")
def updates_notice_failure(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.lasting:
        thing = pod.owner
        if thing["kind"] != "Deployment":
            continue
        ready = int(dig(thing, "spec.minReadySeconds", 0))
        if not int(DRAIN not in left_out(rendering, pod)) <= ready <= 300:
            yield (thing, "spec.minReadySeconds", "must be 1 to 300")
        if not max(ready, 60) < int(dig(thing, "spec.progressDeadlineSeconds", 600)) <= 3600:
            yield (thing, "spec.progressDeadlineSeconds", f"must be above {max(ready, 60)}, and at most 3600")
        if thing["spec"].get("paused"):
            yield (thing, "spec.paused", "must not be set")
        if not 1 <= int(dig(thing, "spec.revisionHistoryLimit", 10)) <= 20:
            yield (thing, "spec.revisionHistoryLimit", "must leave something to go back to: 1 to 20")


@invariant("Members of a set come and go one by one, and are all known.")
def sets_move_one_by_one(rendering: Rendering) -> Iterator[Finding]:
    for thing in rendering.of("StatefulSet"):
        if dig(thing, "spec.updateStrategy.type", "RollingUpdate") != "RollingUpdate":
            yield (thing, "spec.updateStrategy.type", "must be RollingUpdate")
        if int(dig(thing, "spec.updateStrategy.rollingUpdate.partition", 0)) != 0:
            yield (thing, "spec.updateStrategy.rollingUpdate.partition", "must be 0")
        name = dig(thing, "spec.serviceName")
        service = rendering.named("Service", str(name), dig(thing, "metadata.namespace", ""))
        if service is None or dig(service, "spec.clusterIP") != "None":
            yield (thing, "spec.serviceName", f"{name} must be a headless Service")


@invariant("What lasts is started again whenever it ends.")
def what_lasts_is_restarted(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.lasting:
        if pod.spec.get("restartPolicy", "Always") != "Always":
            yield pod.found("spec.restartPolicy", "must be Always")
        if pod.spec.get("activeDeadlineSeconds") is not None:
            yield pod.found("spec.activeDeadlineSeconds", "ends what should last")
        if int(pod.spec.get("terminationGracePeriodSeconds", 30)) < 5 and is_production(rendering):
            yield pod.found("spec.terminationGracePeriodSeconds", "must be at least 5")
