"""The load's Jobs as they are rendered, against the pods of the rendered chart, with names, Secret and volumes.

What stands in for the Gateway is an HAProxy that is told the rendered route; for the name server, a file of hosts.
"""

import asyncio
import base64
import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from tests.charts.rendering import Object
from tests.kubernetes.scripts import ROOT, call, cluster_in, decoded
from tests.load.test_kubernetes import jobs, objects
from tests.pods.confinement import can_confine
from tests.pods.kubelet import Kubelet
from tests.pods.pod import Pod
from tests.pods.rendered import LOAD, Chart, PodTemplate
from tests.pods.test_pods import ready
from tests.support.programs import require_program
from tests.support.waiting import until

from telemed.local.processes import Guard, Program
from telemed_load.platforms import is_answering

SERVICES = ("auth", "booking", "consultation")
LEADER, WORKERS = "telemed-load-leader", "telemed-load-workers"
GATEWAY = "telemed-load.envoy-gateway-system"
# A length and a rate at which the machine's two cores bear six processes of the load beside the platform.
WISHES = {"PROFILE": "steady", "SCALE": "0.1", "SLOTS": "1e4"}
_CONFIGURATION = """
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
frontend all
  bind {address}:80
{choices}
{backends}
"""


@pytest.mark.drill
@pytest.mark.skipif(not can_confine(), reason="needs root: names and a read-only file system of a pod's own")
async def test_the_jobs_load_the_platform(
    kubelet: Kubelet, cluster_secrets: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    """As by the three commands of load-tests/README.md: the leader makes the people, four workers load, one verdict.

    Nothing is double or lost; the figures are compared with the histograms of every pod, by the names of Services.
    """
    chart = Chart({"settings": {"ENVIRONMENT": "local"}, "defaults": {"secrets": {"REPLICA_DATABASE_URLS": False}}})
    platform = await started(kubelet, chart)
    kubelet.secrets = cluster_secrets | {
        "telemed-load-platform": told_by_the_script(chart, cluster_secrets, tmp_path),
        **{one["metadata"]["name"]: one["data"] | WISHES for one in objects() if one["kind"] == "ConfigMap"},
    }
    for name, pod in platform.items():
        kubelet.names[f"telemed-load-{name}.telemed"] = [pod.ip]
    templates = {name: PodTemplate(job["template"]["spec"], LOAD) for name, job in jobs().items()}

    async with gateway_before(kubelet, platform):
        leader = kubelet.begin("leader", templates[LEADER])
        kubelet.names[LEADER] = [leader.ip]
        workers = [kubelet.begin("worker", templates[WORKERS]) for _ in range(jobs()[WORKERS]["completions"])]
        await asyncio.gather(*(kubelet.ended(pod, within_seconds=400) for pod in (leader, *workers)))

    verdict = json.loads(leader.log.splitlines()[-1])
    assert leader.exit_codes == [0, {"met": 0, "missed": 1, "invalid": 2}[verdict["verdict"]]], leader.log[-3000:]
    assert [pod.exit_codes for pod in workers] == [[0]] * len(workers), [pod.log[-500:] for pod in workers]
    assert (verdict["violations"], verdict["unexpected"], verdict["counts"]["unfinished"]) == ([], {}, 0)
    assert verdict["counts"]["sent_requests"] > 300
    assert "were looked for in the database's tables" in verdict["correctness"]
    assert verdict["server_histogram"], verdict["reasons"]
    for one in verdict["server_histogram"]:  # of every service: but for a few at the window's ends, they counted all
        assert one["server_requests"] == pytest.approx(one["client_requests"], rel=0.05)


async def started(kubelet: Kubelet, chart: Chart) -> dict[str, Pod]:
    """Start the platform, migration first, with a pod of each service and the worker; give the services' pods."""
    migrated = await kubelet.run_to_end("migrate", chart.migration)
    assert migrated.exit_codes == [0], migrated.log
    pods = {name: kubelet.start(name, chart.rollout(name).template) for name in (*SERVICES, "worker")}
    await ready(*pods.values())
    return {name: pods[name] for name in SERVICES}


def told_by_the_script(chart: Chart, secrets: Mapping[str, Mapping[str, str]], folder: Path) -> dict[str, str]:
    """Give the Secret that load-tests/kubernetes/secret.sh makes in a cluster with this chart and these Secrets."""
    cluster = cluster_in(folder)
    (cluster / "telemed" / "deployment-telemed-auth").write_text(yaml.safe_dump(chart.of("Deployment", "auth")))
    for name, keys in secrets.items():
        data = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
        manifest = {"kind": "Secret", "metadata": {"namespace": "telemed", "name": name}, "data": data}
        (cluster / "telemed" / name).write_text(yaml.safe_dump(manifest))
    answer = call(ROOT / "load-tests" / "kubernetes" / "secret.sh", cluster=cluster)
    assert answer.returncode == 0, answer.stderr
    made = cluster / "telemed-load" / "telemed-load-platform"
    return decoded([yaml.safe_load(made.read_text())])["telemed-load", "telemed-load-platform"]


@asynccontextmanager
async def gateway_before(kubelet: Kubelet, platform: Mapping[str, Pod]) -> AsyncIterator[None]:
    """Put a proxy before the services' pods that follows the load's route, and name it as the Gateway's is named."""
    (route,) = (one["spec"] for one in objects() if one["kind"] == "HTTPRoute")
    assert route["hostnames"] == [GATEWAY]
    address = kubelet.spare_address()
    kubelet.names[GATEWAY] = [address]
    with tempfile.TemporaryDirectory(prefix="telemed-gw-") as folder:
        file, log, pid, guard = Path(folder) / "cfg", Path(folder) / "log", Path(folder) / "pid", Guard()
        file.write_text(configuration_of(route["rules"], platform, address))
        command = [require_program("haproxy"), "-db", "-q", "-f", str(file)]
        try:
            Program("gateway", command, log=log, pid_file=pid).start(guard)
            await until(lambda: asyncio.to_thread(is_answering, f"http://{address}"), within_seconds=20)
            yield
        finally:
            await asyncio.to_thread(guard.close)


def configuration_of(rules: list[Object], platform: Mapping[str, Pod], address: str) -> str:
    """Say it in HAProxy's words."""
    choices, backends = [], []
    for rule in rules:
        (backend,) = rule["backendRefs"]
        name = backend["name"].removeprefix("telemed-")
        choices += [f"  use_backend {name} if {{ path_beg {one['path']['value']}/ }}" for one in rule["matches"]]
        backends.append(f"backend {name}\n  server pod {platform[name].ip}:{backend['port']}")
    return _CONFIGURATION.format(address=address, choices="\n".join(choices), backends="\n".join(backends))
