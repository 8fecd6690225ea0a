"""What comes from outside: every path of the API, once, to the component that answers it, and nothing else."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.charts.invariants.application import command_of, is_production, services_of
from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.objects import Finding, Object, Rendering, chosen, dig, items

from telemed.kernel.settings import Settings

DOCUMENT = Path(__file__).parents[3] / "docs" / "openapi.json"
# Never to be asked from outside.
INTERNAL = ("/metrics", "/livez", "/readyz")
# Of whoever serves everything only: the laptop's pages.
PAGES = {"/", "/docs", "/openapi.json"}


@cache
def api_paths() -> dict[str, str]:
    """Give every path of the API, and the service that answers it: its first part, as the routers are named."""
    return {path: path.split("/")[1] for path in json.loads(DOCUMENT.read_text())["paths"]}


def _routes(rendering: Rendering) -> Iterator[tuple[Object, str, str, Object]]:
    """Give the object, where in it, the prefix, and the backend as {name, port}."""
    for route in _leading(rendering, "HTTPRoute"):
        for number, rule in enumerate(items(route, "spec.rules")):
            for match in items(rule, "matches") or [{}]:
                prefix = dig(match, "path.value", "/") if dig(match, "path.type", "PathPrefix") == "PathPrefix" else ""
                for backend in items(rule, "backendRefs") or [{}]:
                    yield route, f"spec.rules[{number}]", prefix, backend
    for ingress in rendering.of("Ingress"):
        for number, host in enumerate(items(ingress, "spec.rules")):
            for path in items(host, "http.paths"):
                service = dig(path, "backend.service", {})
                backend = {"name": service.get("name"), "port": dig(service, "port.number", dig(service, "port.name"))}
                prefix = path.get("path", "/") if path.get("pathType") == "Prefix" else ""
                yield ingress, f"spec.rules[{number}]", prefix, backend


def _leading(rendering: Rendering, *kinds: str) -> list[Object]:
    """Give the routes that lead to somebody, and do not only send a client to another address."""
    return [
        thing
        for thing in rendering.of(*kinds)
        if not all(
            any(one.get("type") == "RequestRedirect" for one in items(rule, "filters")) and not rule.get("backendRefs")
            for rule in items(thing, "spec.rules")
        )
    ]


def _answering(rendering: Rendering, route: Object, backend: Object) -> set[str]:
    service = rendering.named("Service", str(backend.get("name")), dig(route, "metadata.namespace", ""))
    selector = dig(service, "spec.selector")
    pods = chosen({"matchLabels": selector} if selector else None, rendering.pods, dig(route, "metadata.namespace", ""))
    return {name for pod in pods for name in services_of(command_of(pod.main))}


def _covers(prefix: str, path: str) -> bool:
    return bool(prefix) and (prefix in ("/", path) or path.startswith(f"{prefix.rstrip('/')}/"))


@invariant("A path that no route has is a 404 of the gateway; one that leads to another component is one of ours.")
def routes_cover_the_api(rendering: Rendering) -> Iterator[Finding]:
    for thing in _leading(rendering, "HTTPRoute", "Ingress"):
        mine = [(prefix, backend) for route, _, prefix, backend in _routes(rendering) if route is thing]
        served = {name for pod in rendering.pods if pod.is_lasting for name in services_of(command_of(pod.main))}
        for path, service in api_paths().items():
            fitting = [(prefix, backend) for prefix, backend in mine if _covers(prefix, path)]
            longest = max((len(prefix) for prefix, _ in fitting), default=0)
            best = [backend for prefix, backend in fitting if len(prefix) == longest]
            if service in served and not best:
                yield (thing, "spec.rules", f"{path} leads nowhere")
            for backend in best:
                if service not in _answering(rendering, thing, backend):
                    yield (thing, "spec.rules", f"{path} leads to {backend.get('name')}, which does not answer it")


@invariant("Two routes of one path make it a matter of luck who answers.")
def routes_are_there_once(rendering: Rendering) -> Iterator[Finding]:
    for thing in _leading(rendering, "HTTPRoute"):
        prefixes = [prefix for route, _, prefix, _ in _routes(rendering) if route is thing]
        for prefix in sorted({prefix for prefix in prefixes if prefixes.count(prefix) > 1}):
            yield (thing, "spec.rules", f"{prefix!r} is there {prefixes.count(prefix)} times")


@invariant("Probes and metrics are nobody's outside; what is not the API is not on the internet.")
def routes_lead_to_the_api_only(rendering: Rendering) -> Iterator[Finding]:
    known = {f"/{service}" for service in api_paths().values()}
    for thing, path, prefix, backend in _routes(rendering):
        answers = _answering(rendering, thing, backend)
        allowed = known | (PAGES if len(answers) > 2 else set())
        if prefix not in allowed and not any(_covers(prefix, one) and prefix != "/" for one in api_paths()):
            yield (thing, path, f"{prefix!r} is no path of the API")
        if prefix in INTERNAL:
            yield (thing, path, f"{prefix} is internal")


@invariant("A route leads to the port of requests of a Service that is there.")
def routes_lead_to_services(rendering: Rendering) -> Iterator[Finding]:
    for thing, path, _, backend in _routes(rendering):
        service = rendering.named("Service", str(backend.get("name")), dig(thing, "metadata.namespace", ""))
        ports = {port.get("name"): port.get("port") for port in items(service, "spec.ports")}
        if backend.get("port") not in ("http", ports.get("http")):
            yield (thing, f"{path}.backendRefs", f"{backend.get('name')}: port must be http, not {backend.get('port')}")
        if backend.get("weight", 1) < 1 or backend.get("namespace", dig(thing, "metadata.namespace")) != dig(
            thing, "metadata.namespace"
        ):
            yield (thing, f"{path}.backendRefs", "must be of this namespace and have weight")


@invariant("A route that is attached to nothing is reached by nobody.")
def routes_are_attached(rendering: Rendering) -> Iterator[Finding]:
    for route in rendering.of("HTTPRoute"):
        parents = items(route, "spec.parentRefs")
        if not parents or not all(parent.get("name") for parent in parents):
            yield (route, "spec.parentRefs", "must name a gateway")


@invariant("A gateway that gives up before the application does answers in its stead, and tries a write again.")
def gateways_wait_for_the_answer(rendering: Rendering) -> Iterator[Finding]:
    deadline = float(Settings.model_fields["request_deadline_seconds"].default)
    for route in rendering.of("HTTPRoute"):
        for number, rule in enumerate(items(route, "spec.rules")):
            for field in ("request", "backendRequest"):
                given = dig(rule, f"timeouts.{field}")
                if given is not None and _seconds(str(given)) <= deadline:
                    yield (route, f"spec.rules[{number}].timeouts.{field}", f"{given} is not above {deadline} s")
            if rule.get("retry"):
                yield (route, f"spec.rules[{number}].retry", "must not be set: who may try again, the client knows")


def _seconds(duration: str) -> float:
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"(\d+)(ms|h|m|s)", duration))


@invariant("Health data goes through TLS only.")
def outside_is_encrypted(rendering: Rendering) -> Iterator[Finding]:
    if not is_production(rendering):
        return
    for ingress in rendering.of("Ingress"):
        named = {host for entry in items(ingress, "spec.tls") for host in entry.get("hosts") or []}
        for number, rule in enumerate(items(ingress, "spec.rules")):
            if not items(ingress, "spec.tls") or (rule.get("host") and rule["host"] not in named):
                yield (ingress, f"spec.rules[{number}]", f"{rule.get('host')} has no TLS")
        for number, entry in enumerate(items(ingress, "spec.tls")):
            if not entry.get("secretName"):
                yield (ingress, f"spec.tls[{number}].secretName", "is missing")


@invariant("A certificate that nobody signs, or that nobody uses, shows at its end.")
def certificates_are_used(rendering: Rendering) -> Iterator[Finding]:
    ingresses = rendering.of("Ingress")
    used = {entry.get("secretName") for one in ingresses for entry in items(one, "spec.tls")}
    for certificate in rendering.of("Certificate"):
        for field in ("secretName", "issuerRef.name", "dnsNames"):
            if not dig(certificate, f"spec.{field}"):
                yield (certificate, f"spec.{field}", "is missing")
        if ingresses and dig(certificate, "spec.secretName") not in used:
            yield (certificate, "spec.secretName", "is used by no Ingress")
        lasts, renewed = dig(certificate, "spec.duration", "2160h"), dig(certificate, "spec.renewBefore", "720h")
        if not 3600 <= _seconds(str(renewed)) < _seconds(str(lasts)):
            yield (certificate, "spec.renewBefore", f"{renewed} of {lasts}: must be at least 1h, and less than all")


@invariant("What one controller alone understands is lost, without a word, with the next one.")
def ingresses_are_neutral(rendering: Rendering) -> Iterator[Finding]:
    for ingress in rendering.of("Ingress"):
        if "kubernetes.io/ingress.class" in dig(ingress, "metadata.annotations", {}):
            yield (ingress, "metadata.annotations", "ingressClassName has taken its place")
        if dig(ingress, "spec.defaultBackend"):
            yield (ingress, "spec.defaultBackend", "answers every path")
