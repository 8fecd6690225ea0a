"""Probes: alive is not the same as ready, and neither asks anybody else.

Source: kernel/health.py, decision 0012, and what one-second time-outs did to others (busy pods killed in a wave).
"""

from collections.abc import Iterator

from tests.charts.invariants.application import LASTING_COMMANDS, command_of, ours
from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.objects import Container, Finding, Rendering, dig

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
# A busy event loop answers late: later than this, often enough, is dead.
LEAST_TIMEOUT_SECONDS = 5
LEAST_FAILURES = 6
# To the first answer: an interpreter on a crowded node takes a while. Longer ones hide a failed start.
BOOT_SECONDS = (60, 600)
# A stuck process that is found after a quarter of an hour was an outage.
LATEST_DEATH_SECONDS = 300
# A pod that cannot answer is taken out this soon; DRAIN_SECONDS and preStop are not for that.
LATEST_UNREADY_SECONDS = 30


def _number(probe: object, field: str) -> int:
    assumed = {"periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3, "initialDelaySeconds": 0}
    return int(dig(probe, field, assumed[field]))


def _lasting(rendering: Rendering) -> Iterator[Container]:
    return (one for one in ours(rendering) if command_of(one)[0] in LASTING_COMMANDS and one.pod.is_lasting)


def _asks(container: Container, probe: str, path: str) -> Iterator[Finding]:
    asked = dig(container.spec, f"{probe}.httpGet", {})
    if asked.get("path") != path:
        yield container.found(f"{probe}.httpGet.path", f"must be {path}, not {asked.get('path')!r}")
    if asked.get("port") not in ("management", container.ports.get("management")):
        yield container.found(f"{probe}.httpGet.port", "must be management")
    if asked.get("scheme", "HTTP") != "HTTP":
        yield container.found(f"{probe}.httpGet.scheme", "must be HTTP: pods speak no TLS")


@invariant("A container that nobody asks is taken for well for ever.")
def lasting_containers_have_probes(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.lasting:
        for container in pod.containers:
            is_sidecar = container.spec.get("restartPolicy") == "Always"
            if "initContainers" in container.path and not is_sidecar:
                continue
            if command_of(container) or container.name == pod.main.name:
                for probe in PROBES if command_of(container) else ("livenessProbe", "readinessProbe"):
                    if not container.spec.get(probe):
                        yield container.found(probe, "is missing")


@invariant("A probe that asks for a port that is not open never succeeds.")
def probes_ask_open_ports(rendering: Rendering) -> Iterator[Finding]:
    for container in rendering.containers:
        for probe in PROBES:
            for way in ("httpGet", "tcpSocket", "grpc"):
                port = dig(container.spec, f"{probe}.{way}.port")
                if port is not None and port not in container.ports and port not in container.ports.values():
                    yield container.found(f"{probe}.{way}.port", f"{port} is not open")


@invariant("Liveness asks the process alone: a dead database must not restart every pod.")
def liveness_asks_the_process(rendering: Rendering) -> Iterator[Finding]:
    for container in _lasting(rendering):
        yield from _asks(container, "livenessProbe", "/livez")


@invariant("A time-out of one second kills busy pods, and the others then get their work.")
def liveness_is_patient(rendering: Rendering) -> Iterator[Finding]:
    for container in rendering.containers:
        probe = container.spec.get("livenessProbe")
        if not probe or not container.pod.is_lasting:
            continue
        if _number(probe, "timeoutSeconds") < LEAST_TIMEOUT_SECONDS:
            yield container.found("livenessProbe.timeoutSeconds", f"must be at least {LEAST_TIMEOUT_SECONDS}")
        if _number(probe, "failureThreshold") < LEAST_FAILURES:
            yield container.found("livenessProbe.failureThreshold", f"must be at least {LEAST_FAILURES}")
        if _number(probe, "periodSeconds") < LEAST_TIMEOUT_SECONDS:
            yield container.found("livenessProbe.periodSeconds", f"must be at least {LEAST_TIMEOUT_SECONDS}")
        if _number(probe, "periodSeconds") * _number(probe, "failureThreshold") > LATEST_DEATH_SECONDS:
            yield container.found("livenessProbe", f"takes more than {LATEST_DEATH_SECONDS} s to notice")
        if probe.get("terminationGracePeriodSeconds") is not None:
            yield container.found("livenessProbe.terminationGracePeriodSeconds", "cuts the drain short")


@invariant(
    "Readiness says draining or stuck; asked late or seldom, it comes after the requests that it should prevent."
)
def readiness_is_prompt(rendering: Rendering) -> Iterator[Finding]:
    for container in _lasting(rendering):
        probe = container.spec.get("readinessProbe", {})
        yield from _asks(container, "readinessProbe", "/readyz")
        patience = _number(probe, "periodSeconds") * _number(probe, "failureThreshold")
        if not 0 < patience <= LATEST_UNREADY_SECONDS:
            yield container.found("readinessProbe", f"must notice within {LATEST_UNREADY_SECONDS} s, not {patience}")
        if not 2 <= _number(probe, "timeoutSeconds") <= 10:
            yield container.found("readinessProbe.timeoutSeconds", "must be 2 to 10")
        if _number(probe, "failureThreshold") < 2:
            yield container.found("readinessProbe.failureThreshold", "must be at least 2: one late answer is no outage")


@invariant("A slow start must not be taken for a death.")
def startup_covers_the_boot(rendering: Rendering) -> Iterator[Finding]:
    for container in _lasting(rendering):
        probe = container.spec.get("startupProbe", {})
        if dig(probe, "httpGet.path") not in ("/livez", "/readyz"):
            yield container.found("startupProbe.httpGet.path", "must be /livez or /readyz")
        else:
            yield from _asks(container, "startupProbe", probe["httpGet"]["path"])
        covered = _number(probe, "periodSeconds") * _number(probe, "failureThreshold")
        if not BOOT_SECONDS[0] <= covered <= BOOT_SECONDS[1]:
            yield container.found("startupProbe", f"covers {covered} s, must be {BOOT_SECONDS[0]} to {BOOT_SECONDS[1]}")
        if _number(probe, "timeoutSeconds") < 2:
            yield container.found("startupProbe.timeoutSeconds", "must be at least 2")
        if _number(probe, "periodSeconds") > 10:
            yield container.found("startupProbe.periodSeconds", "must be at most 10: an update waits for it")


@invariant(
    "A delay before the first look is what the startup probe is for; with both, nobody knows how long a start takes."
)
def probes_begin_at_once(rendering: Rendering) -> Iterator[Finding]:
    for container in _lasting(rendering):
        for probe in PROBES:
            if _number(container.spec.get(probe, {}), "initialDelaySeconds") > 5:
                yield container.found(f"{probe}.initialDelaySeconds", "must be left to the startup probe")
            if int(dig(container.spec, f"{probe}.successThreshold", 1)) != 1:
                yield container.found(f"{probe}.successThreshold", "must be 1")
