"""Pod Security `restricted`, field by field, and what it leaves out: tokens, links, the root file system.

Written out in every pod and not left to the namespace's labels, which whoever installs may not have set.
Source: kubernetes.io, "Pod Security Standards".
"""

from collections.abc import Iterator
from typing import Any

from tests.charts.invariants.application import command_of
from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.objects import Finding, Rendering, dig, items, name_of

# Of what `restricted` allows, what a pod of ours may have: nothing that belongs to the node.
HARMLESS_VOLUMES = {"configMap", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
# What of the cluster's rights an object may give to whom; nothing needs any.
GRANTED: frozenset[str] = frozenset()


def _levels(rendering: Rendering, field: str) -> Iterator[tuple[Finding, Any]]:
    """Give what each place says that must say something: every pod, our own containers, and whoever says it at all.

    The container's word counts; but a pod that says otherwise is what the next container in it gets.
    """
    for pod in rendering.pods:
        yield pod.found(f"spec.securityContext.{field}", ""), dig(pod.spec, f"securityContext.{field}")
    for container in rendering.containers:
        said = dig(container.spec, f"securityContext.{field}")
        if said is not None or command_of(container):
            yield container.found(f"securityContext.{field}", ""), said


@invariant("A process that is not root cannot become root of the node through a hole in the container.")
def not_run_as_root(rendering: Rendering) -> Iterator[Finding]:
    for (thing, path, _), said in _levels(rendering, "runAsNonRoot"):
        if said is not True:
            yield (thing, path, "must be true")


@invariant("The kubelet can check that a user is not root only if it is a number.")
def user_and_group_are_numbers(rendering: Rendering) -> Iterator[Finding]:
    for field in ("runAsUser", "runAsGroup"):
        for (thing, path, _), said in _levels(rendering, field):
            if not isinstance(said, int) or isinstance(said, bool) or said <= 0:
                yield (thing, path, f"must be a number above 0, not {said!r}")


@invariant("Files that root's group owns are not for a pod.")
def no_group_of_root(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        context = dig(pod.spec, "securityContext", {})
        groups = {field: context[field] for field in ("fsGroup", "supplementalGroups") if field in context}
        for field, value in groups.items():
            given = value if isinstance(value, list) else [value]
            if any(not isinstance(group, int) or group <= 0 for group in given):
                yield pod.found(f"spec.securityContext.{field}", "must not be root's group")


@invariant("Most of the kernel's calls are needed by nobody but attackers.")
def seccomp_is_the_runtimes(rendering: Rendering) -> Iterator[Finding]:
    for (thing, path, _), said in _levels(rendering, "seccompProfile"):
        if dig(said, "type") != "RuntimeDefault":
            yield (thing, f"{path}.type", f"must be RuntimeDefault, not {dig(said, 'type')!r}")


@invariant("No process of ours needs any part of root's power.")
def capabilities_are_dropped(rendering: Rendering) -> Iterator[Finding]:
    for container in rendering.containers:
        capabilities = dig(container.spec, "securityContext.capabilities", {})
        if capabilities.get("drop") != ["ALL"]:
            yield container.found("securityContext.capabilities.drop", "must be [ALL]")
        if capabilities.get("add"):
            yield container.found("securityContext.capabilities.add", "must be empty")


@invariant("A set-uid program in the image must be of no use.")
def no_way_to_more_privileges(rendering: Rendering) -> Iterator[Finding]:
    for container in rendering.containers:
        if dig(container.spec, "securityContext.allowPrivilegeEscalation") is not False:
            yield container.found("securityContext.allowPrivilegeEscalation", "must be false")


@invariant("A privileged container is the node.")
def not_privileged(rendering: Rendering) -> Iterator[Finding]:
    for container in rendering.containers:
        if dig(container.spec, "securityContext.privileged", False) is not False:
            yield container.found("securityContext.privileged", "must not be set")


@invariant("Who breaks in cannot leave a program behind.")
def root_file_system_is_read_only(rendering: Rendering) -> Iterator[Finding]:
    for container in rendering.containers:
        if dig(container.spec, "securityContext.readOnlyRootFilesystem") is not True:
            yield container.found("securityContext.readOnlyRootFilesystem", "must be true")


@invariant("What the kernel hides from containers by default stays hidden.")
def kernel_defaults_are_kept(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        context = dig(pod.spec, "securityContext", {})
        for field in ("sysctls", "seLinuxOptions", "windowsOptions"):
            if context.get(field):
                yield pod.found(f"spec.securityContext.{field}", "must not be set")
    for container in rendering.containers:
        if container.security.get("procMount", "Default") != "Default":
            yield container.found("securityContext.procMount", "must be Default")
        if dig(container.security, "appArmorProfile.type", "RuntimeDefault") != "RuntimeDefault":
            yield container.found("securityContext.appArmorProfile.type", "must be RuntimeDefault")


@invariant("Network, processes and memory of the node are not a pod's.")
def nothing_of_the_host_is_shared(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        for field in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
            if pod.spec.get(field, False) is not False:
                yield pod.found(f"spec.{field}", "must not be set")
        if pod.spec.get("ephemeralContainers"):
            yield pod.found("spec.ephemeralContainers", "are for debugging by hand")
    for container in rendering.containers:
        for number, port in enumerate(items(container.spec, "ports")):
            if port.get("hostPort") or port.get("hostIP"):
                yield container.found(f"ports[{number}].hostPort", "must not be set")


@invariant("A folder of the node outlives the pod and belongs to everybody on it.")
def volumes_are_harmless(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        for number, volume in enumerate(items(pod.spec, "volumes")):
            kinds = set(volume) - {"name"}
            if len(kinds) != 1 or not kinds <= HARMLESS_VOLUMES:
                yield pod.found(f"spec.volumes[{number}]", f"is {', '.join(sorted(kinds)) or 'of no kind'}")


@invariant("Nothing of ours asks Kubernetes anything, so a stolen pod shall not be able to either.")
def no_token_in_pods(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield pod.found("spec.automountServiceAccountToken", "must be false")
        for name, volume in pod.volumes.items():
            if any("serviceAccountToken" in source for source in items(volume, "projected.sources")):
                yield pod.found("spec.volumes", f"{name} holds a token")


@invariant("A pod that forgets to refuse the token must not get one either.")
def no_token_from_service_accounts(rendering: Rendering) -> Iterator[Finding]:
    for account in rendering.of("ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield (account, "automountServiceAccountToken", "must be false")


@invariant("An account that no pod has is the sign of a pod that has another one, with whatever rights that has.")
def service_accounts_are_used(rendering: Rendering) -> Iterator[Finding]:
    used = {(pod.namespace, pod.spec.get("serviceAccountName")) for pod in rendering.pods}
    for account in rendering.of("ServiceAccount"):
        if rendering.pods and (dig(account, "metadata.namespace", ""), name_of(account)) not in used:
            yield (account, "metadata.name", "is no pod's")


@invariant("A Service named redis would set REDIS_PORT=tcp://…, which the application reads as its own setting.")
def no_service_links(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        if pod.spec.get("enableServiceLinks") is not False:
            yield pod.found("spec.enableServiceLinks", "must be false")


@invariant("Nobody needs a right in the cluster; one that is given is an argument to be had first.")
def no_rights_are_given(rendering: Rendering) -> Iterator[Finding]:
    for thing in rendering.of("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"):
        if thing["metadata"]["name"] not in GRANTED:
            yield (thing, "kind", "gives rights that nobody needs")


@invariant("A probe or hook that names a host makes the kubelet ask on somebody's behalf.")
def probes_stay_in_the_pod(rendering: Rendering) -> Iterator[Finding]:
    for container in rendering.containers:
        asked = {name: container.spec.get(name) for name in ("livenessProbe", "readinessProbe", "startupProbe")}
        asked |= {f"lifecycle.{name}": dig(container.spec, f"lifecycle.{name}") for name in ("preStop", "postStart")}
        for path, action in asked.items():
            if dig(action, "httpGet.host") or dig(action, "tcpSocket.host"):
                yield container.found(f"{path}.httpGet.host", "must not be set")


@invariant("A namespace of ours takes no pod that is not restricted, whoever made it.")
def namespaces_enforce_restricted(rendering: Rendering) -> Iterator[Finding]:
    for namespace in rendering.of("Namespace"):
        labels = dig(namespace, "metadata.labels", {})
        if labels.get("pod-security.kubernetes.io/enforce") != "restricted":
            yield (namespace, "metadata.labels", "pod-security.kubernetes.io/enforce must be restricted")
        for mode in ("audit", "warn"):
            if labels.get(f"pod-security.kubernetes.io/{mode}", "restricted") != "restricted":
                yield (namespace, "metadata.labels", f"pod-security.kubernetes.io/{mode} must be restricted")
