"""What is watched: every metric where it is, every alarm with somebody who knows what to do."""

import re
from collections import Counter
from collections.abc import Iterator

from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.objects import Finding, Object, Rendering, chosen, dig, items, matches

_DURATION = re.compile(r"(\d+)(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
SEVERITIES = {"page", "ticket", "none", "info", "critical", "warning"}


def _seconds(text: str) -> float:
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))


def _endpoints(monitor: Object) -> list[tuple[str, Object]]:
    field = "endpoints" if monitor["kind"] == "ServiceMonitor" else "podMetricsEndpoints"
    return [(f"spec.{field}[{number}]", one) for number, one in enumerate(items(monitor, f"spec.{field}"))]


@invariant("A monitor of a port that is not there finds targets, and no metrics.")
def monitors_ask_open_ports(rendering: Rendering) -> Iterator[Finding]:
    for monitor in rendering.of("ServiceMonitor", "PodMonitor"):
        if not _endpoints(monitor):
            yield (monitor, "spec", "must have an endpoint")
        there = _ports(rendering, monitor)
        for path, endpoint in _endpoints(monitor):
            for ports in there:
                if endpoint.get("port") not in ports:
                    yield (
                        monitor,
                        f"{path}.port",
                        f"{endpoint.get('port')!r} is not one of {', '.join(sorted(ports))}",
                    )


def _ports(rendering: Rendering, monitor: Object) -> list[set[str]]:
    own = dig(monitor, "metadata.namespace", "")
    spaces = items(monitor, "spec.namespaceSelector.matchNames") or [own]
    selector = dig(monitor, "spec.selector", {})
    if monitor["kind"] == "PodMonitor":
        pods = [pod for space in spaces for pod in chosen(selector, [*rendering.pods, *rendering.operated], space)]
        return [{name for one in pod.containers for name in one.ports} for pod in pods]
    return [
        {str(port.get("name")) for port in items(service, "spec.ports")}
        for service in rendering.of("Service")
        if dig(service, "metadata.namespace", "") in spaces and matches(selector, dig(service, "metadata.labels", {}))
    ]


@invariant("Metrics are asked for where they are, often enough for an alarm of minutes.")
def metrics_are_asked_for(rendering: Rendering) -> Iterator[Finding]:
    for monitor in rendering.of("ServiceMonitor", "PodMonitor"):
        for path, endpoint in _endpoints(monitor):
            if endpoint.get("path", "/metrics") != "/metrics":
                yield (monitor, f"{path}.path", "must be /metrics")
            interval, patience = str(endpoint.get("interval", "30s")), str(endpoint.get("scrapeTimeout", "10s"))
            if not 5 <= _seconds(interval) <= 60:
                yield (monitor, f"{path}.interval", f"{interval}: must be 5s to 60s")
            if "scrapeTimeout" in endpoint and not 1 <= _seconds(patience) <= _seconds(interval):
                yield (monitor, f"{path}.scrapeTimeout", f"{patience}: must be 1s to the interval")


@invariant("What every component measures is collected from every component.")
def every_component_is_watched(rendering: Rendering) -> Iterator[Finding]:
    from tests.charts.invariants.application import command_of

    monitors = rendering.of("ServiceMonitor", "PodMonitor")
    mine = [pod for pod in rendering.lasting if command_of(pod.main)]
    watched: set[int] = set()
    for monitor in monitors:
        own = dig(monitor, "metadata.namespace", "")
        spaces = items(monitor, "spec.namespaceSelector.matchNames") or [own]
        selector = dig(monitor, "spec.selector", {})
        for space in spaces:
            if monitor["kind"] == "PodMonitor":
                watched |= {id(pod) for pod in chosen(selector, mine, space)}
            for service in rendering.of("Service") if monitor["kind"] == "ServiceMonitor" else []:
                if (
                    matches(selector, dig(service, "metadata.labels", {}))
                    and dig(service, "metadata.namespace") == space
                ):
                    wanted = {"matchLabels": dig(service, "spec.selector", {})}
                    watched |= {id(pod) for pod in chosen(wanted, mine, space)}
    for pod in mine:
        namespaces = {dig(one, "metadata.namespace") for one in monitors}
        if watched and id(pod) not in watched and pod.namespace in namespaces:
            yield pod.found("metadata.labels", "is found by no monitor")


def _rules(rendering: Rendering) -> Iterator[tuple[Object, str, Object]]:
    for thing in rendering.of("PrometheusRule"):
        for outer, group in enumerate(items(thing, "spec.groups")):
            for inner, rule in enumerate(items(group, "rules")):
                yield thing, f"spec.groups[{outer}].rules[{inner}]", rule


@invariant("An alarm without severity wakes nobody, one without a runbook wakes somebody who does not know what to do.")
def alarms_say_what_to_do(rendering: Rendering) -> Iterator[Finding]:
    for thing, path, rule in _rules(rendering):
        if not str(rule.get("expr") or "").strip():
            yield (thing, f"{path}.expr", "must be there")
        if bool(rule.get("alert")) == bool(rule.get("record")):
            yield (thing, path, "must be an alarm or a record")
        if not rule.get("alert"):
            continue
        if dig(rule, "labels.severity") not in SEVERITIES:
            yield (thing, f"{path}.labels.severity", f"must be one of {', '.join(sorted(SEVERITIES))}")
        for field in ("summary", "runbook_url"):
            if not dig(rule, f"annotations.{field}"):
                yield (thing, f"{path}.annotations.{field}", f"of {rule['alert']} is missing")


@invariant("Two groups, or two alarms of one severity, with one name are one of them lost.")
def alarms_are_there_once(rendering: Rendering) -> Iterator[Finding]:
    for thing in rendering.of("PrometheusRule"):
        if not items(thing, "spec.groups"):
            yield (thing, "spec.groups", "must be there")
        names = Counter(group.get("name") for group in items(thing, "spec.groups"))
        for name, count in names.items():
            if count > 1 or not name:
                yield (thing, "spec.groups", f"{name!r} is there {count} times")


@invariant("A dashboard that is no JSON is an empty page in the middle of an outage.")
def dashboards_are_json(rendering: Rendering) -> Iterator[Finding]:
    import json

    for thing in rendering.of("ConfigMap"):
        for key, text in dig(thing, "data", {}).items():
            if not key.endswith(".json"):
                continue
            try:
                document = json.loads(text)
            except ValueError as error:
                yield (thing, f"data.{key}", f"is no JSON: {error}")
                continue
            if "grafana_dashboard" in str(dig(thing, "metadata.labels", {})) and not (
                document.get("title") and document.get("uid")
            ):
                yield (thing, f"data.{key}", "needs a title and a uid")
