"""Ports: named, existing, and open only inside the cluster."""

from collections import Counter
from collections.abc import Iterator

from tests.charts.invariants.application import (
    LASTING_COMMANDS,
    command_of,
    environment,
    ours,
    readable_settings,
    services_of,
)
from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.objects import Container, Finding, Pod, Rendering, chosen, dig, items

MANAGEMENT = "management"
HTTP = "http"


def service_pods(rendering: Rendering, service: dict[str, object]) -> list[Pod]:
    """Give the pods that a Service leads to."""
    selector = dig(service, "spec.selector")
    pods = [*rendering.pods, *rendering.operated]
    namespace = dig(service, "metadata.namespace", "")
    return list(chosen({"matchLabels": selector} if selector else None, pods, namespace))


def open_ports(pod: Pod) -> dict[str, int]:
    """Give the ports of all containers, by name."""
    return {name: number for container in pod.containers for name, number in container.ports.items()}


@invariant("Whoever refers to a port by its name needs it to be there once, and named as Kubernetes allows.")
def ports_are_named_once(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        ports = [port for container in pod.containers for port in items(container.spec, "ports")]
        for field in ("name", "containerPort"):
            for value, count in Counter(port.get(field) for port in ports).items():
                if count > 1 or not value:
                    yield pod.found("spec.containers", f"the port's {field} {value!r} is there {count} times")
        for port in ports:
            if len(str(port.get("name"))) > 15 or not 0 < int(port.get("containerPort", 0)) < 65536:
                yield pod.found("spec.containers", f"{port.get('name')}: {port.get('containerPort')} is no port")


@invariant("A Service that sends to a port that nobody listens on answers nobody.")
def services_send_to_open_ports(rendering: Rendering) -> Iterator[Finding]:
    for service in rendering.of("Service"):
        ports = items(service, "spec.ports")
        if service["spec"].get("type") != "ExternalName" and not ports:
            yield (service, "spec.ports", "must be there")
        for pod in service_pods(rendering, service):
            there = open_ports(pod)
            for number, port in enumerate(ports):
                target = port.get("targetPort", port.get("port"))
                if target not in there and target not in there.values():
                    yield (service, f"spec.ports[{number}].targetPort", f"{target} is not open")


@invariant("Telemed speaks HTTP over TCP on the ports that everybody knows, in front of the pod as in it.")
def services_have_the_known_ports(rendering: Rendering) -> Iterator[Finding]:
    for service in rendering.of("Service"):
        there = {name: number for pod in service_pods(rendering, service) for name, number in open_ports(pod).items()}
        for number, port in enumerate(items(service, "spec.ports")):
            if port.get("protocol", "TCP") != "TCP" or port.get("appProtocol", "http") not in ("http", "tcp", "redis"):
                yield (service, f"spec.ports[{number}]", "must be TCP")
            if port.get("name") in (HTTP, MANAGEMENT) and port.get("port") != there.get(port["name"], port.get("port")):
                yield (service, f"spec.ports[{number}].port", f"must be the pod's, {there[port['name']]}")
    for container in rendering.containers:
        if any(port.get("protocol", "TCP") != "TCP" for port in items(container.spec, "ports")):
            yield container.found("ports", "must be TCP")


@invariant("Whoever calls a component by its port's name finds the same name at the Service and in the pod.")
def services_keep_the_names(rendering: Rendering) -> Iterator[Finding]:
    for service in rendering.of("Service"):
        names = [port.get("name") for port in items(service, "spec.ports")]
        if len(set(names)) != len(names) or None in names:
            yield (service, "spec.ports", "must have a name each")
        for number, port in enumerate(items(service, "spec.ports")):
            if isinstance(port.get("targetPort"), str) and port["targetPort"] != port.get("name"):
                yield (service, f"spec.ports[{number}].targetPort", "has another name than the Service's port")


@invariant("Only a gateway is reached from outside; a node's port or a load balancer of our own goes around it.")
def services_are_internal(rendering: Rendering) -> Iterator[Finding]:
    for service in rendering.of("Service"):
        spec = service["spec"]
        if spec.get("type", "ClusterIP") not in ("ClusterIP", "ExternalName"):
            yield (service, "spec.type", f"must be ClusterIP, not {spec['type']}")
        for field in ("externalIPs", "loadBalancerIP", "loadBalancerSourceRanges"):
            if spec.get(field):
                yield (service, f"spec.{field}", "must not be set")
        for number, port in enumerate(items(service, "spec.ports")):
            if port.get("nodePort"):
                yield (service, f"spec.ports[{number}].nodePort", "must not be set")


@invariant("A pod that is not ready, or that ends, must not be sent requests.")
def only_ready_pods_are_sent_to(rendering: Rendering) -> Iterator[Finding]:
    for service in rendering.of("Service"):
        spec = service["spec"]
        # A headless Service of a StatefulSet is how its members find one another before they are ready.
        if spec.get("publishNotReadyAddresses") and spec.get("clusterIP") != "None":
            yield (service, "spec.publishNotReadyAddresses", "must not be set")
        if spec.get("sessionAffinity", "None") != "None":
            yield (service, "spec.sessionAffinity", "keeps clients at a pod that is overloaded")
        for field in ("externalTrafficPolicy", "internalTrafficPolicy"):
            if spec.get(field, "Cluster") != "Cluster":
                yield (service, f"spec.{field}", "loses requests where the node has no pod")


def _told_ports(container: Container) -> dict[str, int]:
    settings = readable_settings(container)
    if settings is None or command_of(container)[0] not in LASTING_COMMANDS:
        return {}
    told = {MANAGEMENT: settings.management_port or 0}
    if services_of(command_of(container)):
        told[HTTP] = settings.port
    return told


@invariant("The application listens where its settings say; its pod, probes and Services must mean the same ports.")
def ports_are_those_of_the_settings(rendering: Rendering) -> Iterator[Finding]:
    for container in ours(rendering):
        told = _told_ports(container)
        there = {name: number for name, number in container.ports.items() if name in (HTTP, MANAGEMENT)}
        if command_of(container)[0] in LASTING_COMMANDS and readable_settings(container) and there != told:
            yield container.found("ports", f"are {there}, and the settings say {told}")


@invariant("Probes and metrics on the port of the requests would be anybody's to ask, and would wait behind them.")
def management_has_its_own_port(rendering: Rendering) -> Iterator[Finding]:
    for container in ours(rendering):
        if command_of(container)[0] not in LASTING_COMMANDS:
            continue
        told = environment(container)
        if not told.get("MANAGEMENT_PORT") or told["MANAGEMENT_PORT"] == told.get("PORT", "3000"):
            yield container.found("env", "MANAGEMENT_PORT must be set, to another port than PORT")


@invariant(
    "A component that answers requests is reached by a Service; its probes' port is too, where it is scraped by it."
)
def servers_have_a_service(rendering: Rendering) -> Iterator[Finding]:
    led_to: dict[str, set[object]] = {}
    for service in rendering.of("Service"):
        for pod in service_pods(rendering, service):
            names = {port.get("targetPort", port.get("port")) for port in items(service, "spec.ports")}
            led_to.setdefault(f"{pod.namespace}/{pod.owner['metadata']['name']}", set()).update(names)
    for container in ours(rendering):
        name = f"{container.pod.namespace}/{container.pod.owner['metadata']['name']}"
        if services_of(command_of(container)) and not led_to.get(name, set()) & {HTTP, container.ports.get(HTTP)}:
            yield container.found("ports", "no Service leads to http")
