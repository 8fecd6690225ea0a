"""The pods of the rendered chart, run as plain processes: they start, serve, end and fail as the chart says."""

import asyncio
import copy
import signal
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from tests.pods.balancer import balancer_before
from tests.pods.confinement import can_confine
from tests.pods.deployment import Deployment
from tests.pods.kubelet import Kubelet, kubelet_on
from tests.pods.load import Request, requests_at
from tests.pods.pod import Pod
from tests.pods.rendered import Chart, PodTemplate
from tests.support.clinic import doctor_card
from tests.support.databases import TestDatabase
from tests.support.people import People
from tests.support.proxy import Proxy, proxy_to, through
from tests.support.settings import make_settings
from tests.support.waiting import until

from telemed.kernel.clock import SystemClock

# Tokens that `People` can mint; and nobody is refused because this machine is busy: a read that a replica is too slow
# for (a quarter of a second), or a wait for a connection (3 s), says nothing about a restart.
UNHURRIED = {
    "settings": {"JWT_ALGORITHM": "HS256", "DATABASE_POOL_TIMEOUT_SECONDS": 12},
    "defaults": {"secrets": {"REPLICA_DATABASE_URLS": False}},
}
COMPONENTS = ("auth", "booking", "consultation", "worker")


async def ready(*pods: Pod, within_seconds: float = 60) -> None:
    try:
        await until(lambda: all(pod.is_ready for pod in pods), within_seconds=within_seconds)
    except AssertionError as late:
        missing = [pod for pod in pods if not pod.is_ready]
        told = [f"{pod.name}: {pod.exit_codes} {pod.probes_seen}\n{pod.log[-1500:]}" for pod in missing]
        raise AssertionError("\n".join(told)) from late


async def test_the_rendered_pods_are_the_platform(kubelet: Kubelet) -> None:
    """As by `helm install` with default values: migration, four components, and the pod of `helm test` is content.

    The migration may run again. Each ends with 0 within its grace when it is deleted.
    """
    chart = Chart()
    for _ in range(2):
        migrated = await kubelet.run_to_end("migrate", chart.migration)
        assert migrated.exit_codes == [0], migrated.log
    pods = {name: kubelet.start(name, chart.rollout(name).template) for name in COMPONENTS}
    await ready(*pods.values())

    tested = await kubelet.run_to_end("smoke", smoke_of(chart, pods))
    assert tested.exit_codes == [0], tested.log
    assert "The platform works" in tested.last_words()

    for pod in pods.values():
        kubelet.delete(pod)
    for name, pod in pods.items():
        await asyncio.wait_for(pod.gone.wait(), pod.template.grace_seconds)
        assert (pod.exit_codes, pod.restarts, pod.was_killed) == ([0], 0, False), (name, pod.log[-2000:])


@pytest.mark.skipif(not can_confine(), reason="needs root: another user and a mount namespace")
async def test_a_pod_is_nobody_and_writes_only_to_tmp(kubelet: Kubelet) -> None:
    """Its number and its group are the chart's, it has no powers, and all but /tmp is read-only to it."""
    template = Chart().rollout("booking").template
    pod = kubelet.start("booking", template)
    program = (
        "import os; os.umask(u := os.umask(0)); print(os.getuid(), os.getgid(), oct(u));"
        "print([l.split()[1] for l in open('/proc/self/status') if l.startswith('CapEff')]);"
        "open(os.environ['TMPDIR'] + '/x', 'w').close(); print('tmp');"
        "\nfor path in ('/x', '/var/tmp/x', os.environ['PYTHONPATH'].split(':')[0] + '/x'):"
        "\n  try: open(path, 'w')"
        "\n  except OSError as error: print(error.strerror)"
    )
    said = (await kubelet.execute(pod, "python3", "-c", program)).splitlines()
    assert said[:3] == [f"{template.user} {template.user} 0o22", "['0000000000000000']", "tmp"]
    assert said[3:] == ["Read-only file system"] * 3
    await ready(pod)  # and it serves all the same


@pytest.mark.parametrize("speed", [5, pytest.param(1, marks=pytest.mark.drill, id="rendered times")])
async def test_a_rolling_restart_fails_no_request(
    pods_folder: Path, cluster_secrets: dict[str, dict[str, str]], database: TestDatabase, speed: float
) -> None:
    """Every pod is replaced while reads and writes keep coming, behind a balancer that hears of it a second late."""
    chart = Chart(UNHURRIED)
    async with (
        kubelet_on(pods_folder, cluster_secrets, speed=speed) as kubelet,
        balancer_before(kubelet, behind_seconds=1.0) as balancer,
    ):
        deployment = Deployment("booking", kubelet, chart.rollout("booking"))
        assert await deployment.update()
        await balancer.settled()
        async with requests_at(balancer.url, 25, await kinds_of_requests(balancer.url, database)) as outcomes:
            before = deployment.pods.copy()
            assert await deployment.update()
            await deployment.ended()
    assert outcomes.keys() == {"ok"}, outcomes
    assert outcomes["ok"] > 50
    assert deployment.fewest_ready >= deployment.rollout.replicas
    assert not set(before) & set(deployment.pods)
    assert [(pod.exit_codes, pod.was_killed) for pod in before] == [([0], False)] * len(before)


async def test_without_the_waits_requests_fail(kubelet: Kubelet, database: TestDatabase) -> None:
    """The test above can fail: with neither preStop nor drain a pod is gone before the balancer has heard of it."""
    rollout = Chart(UNHURRIED).rollout("booking")
    hasty = without_waits(rollout.template)
    async with balancer_before(kubelet, behind_seconds=1.0) as balancer:
        deployment = Deployment("booking", kubelet, replace(rollout, template=hasty, min_ready_seconds=0))
        assert await deployment.update()
        await balancer.settled()
        async with requests_at(balancer.url, 25, await kinds_of_requests(balancer.url, database)) as outcomes:
            gone = deployment.pods[0]
            kubelet.delete(gone)
            await gone.gone.wait()
            await balancer.settled()
    assert outcomes.keys() - {"ok"}, outcomes


@pytest.mark.drill
async def test_a_stuck_pod_is_restarted_and_a_lost_primary_restarts_nobody(
    pods_folder: Path, cluster_secrets: dict[str, dict[str, str]], database: TestDatabase
) -> None:
    """Liveness sees an event loop that stands still, and nothing of what all pods share."""
    async with proxy_to(database.servers.port) as primary, kubelet_on(pods_folder, cluster_secrets, speed=5) as kubelet:
        names = cluster_secrets["telemed-database"]
        cluster_secrets["telemed-database"] = {name: behind(primary, urls) for name, urls in names.items()}
        rollout = Chart().rollout("booking")
        well, stuck = (kubelet.start("booking", quick_to_end(rollout.template)) for _ in range(2))
        await ready(well, stuck)

        await primary.close()  # whoever connects is refused from now on
        seen = well.probes_seen["liveness"]
        liveness = rollout.template.probe("liveness")
        assert liveness is not None
        await until(lambda: well.probes_seen["liveness"] > seen + liveness.failure_threshold, within_seconds=60)
        assert (well.restarts, stuck.restarts, well.is_ready, stuck.is_ready) == (0, 0, True, True)

        assert stuck.process is not None
        stuck.process.send_signal(signal.SIGSTOP)
        await until(lambda: not stuck.is_ready, within_seconds=60)  # first nobody is sent there any more
        assert stuck.restarts == 0
        await until(lambda: stuck.restarts == 1 and stuck.is_ready, within_seconds=90)
        assert stuck.restarted_because == ["liveness"]
        assert stuck.was_killed  # a loop that stands still hears no SIGTERM
        assert (well.restarts, well.restarted_because) == (0, [])


async def test_a_pod_that_cannot_start_stops_the_rollout(hasty_kubelet: Kubelet) -> None:
    """It says why in one sentence, and the old pods go on serving."""
    kubelet = hasty_kubelet
    rollout = Chart().rollout("booking")
    deployment = Deployment("booking", kubelet, rollout)
    assert await deployment.update()
    old = deployment.pods.copy()

    kubelet.secrets = {**kubelet.secrets, "telemed-cache": {"REDIS_URL": "http://cache:6379"}}
    assert not await deployment.update(replace(rollout, progress_deadline_seconds=60))
    (new,) = [pod for pod in deployment.pods if pod not in old]
    assert set(new.exit_codes) == {1}
    assert new.restarts >= 1
    assert new.last_words().startswith("telemed: REDIS_URL ")
    assert len(set(new.log.splitlines())) == 1, new.log  # the same sentence each time, and nothing else
    assert all(pod.is_ready and pod.restarts == 0 for pod in old)
    async with httpx.AsyncClient() as client:
        for pod in old:
            assert (await client.get(f"{pod.url}/booking/doctors")).status_code == 200


def smoke_of(chart: Chart, pods: dict[str, Pod]) -> PodTemplate:
    """Take the pod of `helm test`, with the pods' addresses for those of the Services."""
    (pod,) = [one for one in chart.objects if one["kind"] == "Pod"]
    spec = copy.deepcopy(pod["spec"])
    addresses = {f"http://telemed-{name}:3000": running.url for name, running in pods.items() if name != "worker"}
    arguments = spec["containers"][0]["args"]
    assert arguments[0] == "smoke"
    assert addresses.keys() <= set(arguments)
    spec["containers"][0]["args"] = [addresses.get(part, part) for part in arguments]
    return PodTemplate(spec)


def without_waits(template: PodTemplate) -> PodTemplate:
    """Take away what makes a pod's end harmless."""
    spec = copy.deepcopy(template.spec)
    container = spec["containers"][0]
    del container["lifecycle"]
    for variable in container["env"]:
        if variable["name"] == "DRAIN_SECONDS":
            variable["value"] = "0"
    return PodTemplate(spec)


def quick_to_end(template: PodTemplate) -> PodTemplate:
    """Shorten the grace of one that will be killed: what is tested is that it is, not how long that takes."""
    spec = copy.deepcopy(template.spec) | {"terminationGracePeriodSeconds": 6}
    return PodTemplate(spec)


def behind(proxy: Proxy, addresses: str) -> str:
    return ",".join(through(proxy, address) for address in addresses.split(","))


async def kinds_of_requests(url: str, database: TestDatabase) -> list[Request]:
    """Give reads from the cache and from the database, and a write."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        doctor = await People(client, database.owner, make_settings(database), SystemClock()).doctor()
        (await doctor.put("/booking/doctors/me", doctor_card())).raise_for_status()
    headers = {"Authorization": f"Bearer {doctor.token}"}
    return [
        lambda client: client.get("/booking/slots/search?specialization=cardiology"),
        lambda client: client.get("/booking/doctors"),
        lambda client: client.put("/booking/doctors/me", json=doctor_card(), headers=headers),
    ]
