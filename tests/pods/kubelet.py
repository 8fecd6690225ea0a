"""A small kubelet: runs rendered pods as plain processes, watches them by probes, and ends them as Kubernetes does.

Each pod has an address of its own (127.x.y.z), so the rendered ports are used as they are. Where the test is root, a
pod runs as its numeric user, without capabilities, in a mount namespace in which only its emptyDirs can be written.
Only there names lead anywhere, as a file of hosts takes a mount. What it does not have: images, CPU and memory limits,
network policies.
"""

import asyncio
import contextlib
import os
import secrets as randomness
import sys
import time
from asyncio import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
from tests.pods.confinement import CHECKOUT, can_confine, confined, is_root
from tests.pods.pod import Pod
from tests.pods.rendered import PodTemplate, Probe, Secrets

_PATIENCE = Path(__file__).parent / "patches" / "patience"
RESTART_PAUSE_SECONDS = 10.0  # before the second restart, doubled each time: CrashLoopBackOff
_FIRST_RESTART_SECONDS = 0.0


class Kubelet:
    """Runs pods. *speed* shortens the times between probes for tests, never what the pod itself is told."""

    def __init__(self, folder: Path, secrets: Secrets, *, speed: float = 1.0) -> None:
        self.secrets = secrets
        self.names: dict[str, list[str]] = {}  # of Services: the addresses that a pod finds which begins now
        self.speed = speed
        self.pods: list[Pod] = []
        self.changed: list[Callable[[], None]] = []  # told when a pod's readiness has changed
        self._folder = folder
        self._net = f"127.{100 + randomness.randbelow(100)}.{randomness.randbelow(250) + 1}"
        self._tasks: dict[Pod, asyncio.Task[None]] = {}
        self._made = 0

    def start(self, name: str, template: PodTemplate) -> Pod:
        """Create a pod and look after it until it is deleted."""
        pod = self._new(name, template)
        self._tasks[pod] = asyncio.create_task(self._live(pod))
        return pod

    async def run_to_end(self, name: str, template: PodTemplate) -> Pod:
        """Run a pod of a Job: no probes, no restart."""
        pod = self.begin(name, template)
        await self.ended(pod)
        return pod

    def begin(self, name: str, template: PodTemplate) -> Pod:
        """Give a pod of a Job its address and its volumes; nothing runs yet."""
        return self._new(name, template)

    async def ended(self, pod: Pod, *, within_seconds: float = 120) -> None:
        """Run a pod of a Job to its end, after its init containers; the first that fails is the last that runs."""
        async with asyncio.timeout(within_seconds):
            for template in (*pod.template.before, pod.template):
                await self._launch(pod, template)
                assert pod.process is not None
                pod.exit_codes.append(await pod.process.wait())
                if pod.exit_codes[-1] != 0:
                    break

    async def execute(self, pod: Pod, *command: str) -> str:
        """Run a program where the pod runs, as who it is, and give what it says."""
        process = await self._spawn(pod, pod.template, command, subprocess.PIPE)
        said, _ = await asyncio.wait_for(process.communicate(), 60)
        return said.decode()

    def delete(self, pod: Pod) -> None:
        """Delete it: its endpoint goes at once, the process in its own time; `pod.gone` is set in the end."""
        pod.is_deleted = True
        self._set_ready(pod, is_ready=False)
        self._tasks[pod].cancel()
        self._tasks[pod] = asyncio.create_task(self._end(pod))

    async def close(self) -> None:
        """End everything at once."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for pod in self.pods:
            if pod.process is not None and pod.process.returncode is None:
                pod.process.kill()
                await pod.process.wait()

    def spare_address(self) -> str:
        """Give an address of the pods' network that no pod has."""
        self._made += 1
        return f"{self._net}.{self._made}"

    def _new(self, name: str, template: PodTemplate) -> Pod:
        address = self.spare_address()
        folder = self._folder / f"{name}-{self._made}"
        folder.mkdir()
        pod = Pod(name, template, address, folder)
        self._mount(pod)
        self.pods.append(pod)
        return pod

    def _mount(self, pod: Pod) -> None:
        """Make its volumes. They lie in its folder, as plain processes share one file system."""
        pod.folder.chmod(0o755)
        for folder in pod.writable:
            folder.mkdir(parents=True)
        for name, content in pod.template.files(self.secrets).items():
            file = pod.folder / name.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(pod.placed(content))
            file.chmod(0o440)
        if is_root():
            for path in (pod.folder, *pod.folder.rglob("*")):
                os.chown(path, 0 if path == pod.folder else pod.template.user, pod.template.user)

    def _environment(self, pod: Pod, template: PodTemplate) -> dict[str, str]:
        found = {name: pod.placed(value) for name, value in template.environment(self.secrets).items()}
        if found.get("HOST") in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
            found["HOST"] = pod.ip  # all addresses of a pod are one
        # What the image brings, and where this machine keeps it.
        modules = [str(CHECKOUT / folder) for folder in template.image.python_path]
        here = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONPATH": ":".join([*modules, str(_PATIENCE)]),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(pod.tmp),
            "HOME": "/nonexistent",
            "LOCUST_MASTER_BIND_HOST": pod.ip,  # as HOST
        }
        return here | found

    async def _launch(self, pod: Pod, template: PodTemplate) -> None:
        command = tuple(pod.placed(word) for word in template.command(template.environment(self.secrets)))
        with (pod.folder / "log").open("ab") as log:
            pod.process = await self._spawn(pod, template, command, log.fileno())

    async def _spawn(
        self, pod: Pod, template: PodTemplate, command: tuple[str, ...], output: int
    ) -> subprocess.Process:
        # The script of the checkout's environment may belong to another checkout; the module is this one's.
        ours = [sys.executable, "-m", "telemed.cli"] if command[0] == "telemed" else [command[0]]
        whole = [*ours, *command[1:]]
        if can_confine():
            hosts = pod.folder / "hosts"
            hosts.write_text("".join(f"{ip} {name}\n" for name, ips in self._known().items() for ip in ips))
            stage = pod.folder / "stage"
            whole = confined(whole, user=template.user, writable=pod.writable, hosts=hosts, stage=stage)
        return await asyncio.create_subprocess_exec(
            *whole,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=self._environment(pod, template),
            cwd=CHECKOUT / template.image.work_folder,
            start_new_session=True,
        )

    def _known(self) -> dict[str, list[str]]:
        return {"localhost": ["127.0.0.1"]} | self.names

    async def _live(self, pod: Pod) -> None:
        while True:
            await self._launch(pod, pod.template)
            assert pod.process is not None
            watching = asyncio.create_task(self._watch(pod))
            ending = asyncio.create_task(pod.process.wait())
            try:
                await asyncio.wait([watching, ending], return_when=asyncio.FIRST_COMPLETED)
            finally:
                watching.cancel()
            if watching.done() and not watching.cancelled() and pod.process.returncode is None:
                pod.restarted_because.append(watching.result())
                self._set_ready(pod, is_ready=False)
                await self._stop(pod)
            pod.exit_codes.append(await ending)
            self._set_ready(pod, is_ready=False)
            pause = _FIRST_RESTART_SECONDS if pod.restarts == 0 else RESTART_PAUSE_SECONDS * 2 ** (pod.restarts - 1)
            await asyncio.sleep(pause / self.speed)
            pod.restarts += 1
            pod.is_started = False

    async def _watch(self, pod: Pod) -> str:
        """Probe until it has to be restarted, and say why."""
        async with httpx.AsyncClient() as client, asyncio.TaskGroup() as group:
            startup = pod.template.probe("startup")
            if startup and not await self._passes(client, pod, startup, "startup"):
                return "startup"
            pod.is_started = True
            if readiness := pod.template.probe("readiness"):
                follows = group.create_task(self._follow(client, pod, readiness))
            else:
                follows = None
                self._set_ready(pod, is_ready=True)
            if liveness := pod.template.probe("liveness"):
                await self._fails(client, pod, liveness, "liveness")
                if follows:
                    follows.cancel()
                return "liveness"
            await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def _passes(self, client: httpx.AsyncClient, pod: Pod, probe: Probe, kind: str) -> bool:
        for _ in range(probe.failure_threshold):
            if await self._answers(client, pod, probe, kind):
                return True
            await asyncio.sleep(probe.period_seconds / self.speed)
        return False

    async def _fails(self, client: httpx.AsyncClient, pod: Pod, probe: Probe, kind: str) -> None:
        failures = 0
        while failures < probe.failure_threshold:
            failures = 0 if await self._answers(client, pod, probe, kind) else failures + 1
            await asyncio.sleep(probe.period_seconds / self.speed)

    async def _follow(self, client: httpx.AsyncClient, pod: Pod, probe: Probe) -> None:
        failures = 0
        while True:
            failures = 0 if await self._answers(client, pod, probe, "readiness") else failures + 1
            if failures == 0:
                self._set_ready(pod, is_ready=True)
            elif failures >= probe.failure_threshold:
                self._set_ready(pod, is_ready=False)
            await asyncio.sleep(probe.period_seconds / self.speed)

    async def _answers(self, client: httpx.AsyncClient, pod: Pod, probe: Probe, kind: str) -> bool:
        pod.probes_seen[kind] = pod.probes_seen.get(kind, 0) + 1
        number = int(probe.port) if probe.port.isdigit() else pod.template.port(probe.port)
        try:
            reply = await client.get(
                f"http://{pod.ip}:{number}{probe.path}", timeout=probe.timeout_seconds / self.speed
            )
        except httpx.HTTPError:
            return False
        return 200 <= reply.status_code < 400

    async def _end(self, pod: Pod) -> None:
        with contextlib.suppress(ProcessLookupError):
            await self._stop(pod)
        if pod.process is not None:
            pod.exit_codes.append(await pod.process.wait())
        pod.gone.set()

    async def _stop(self, pod: Pod) -> None:
        """Wait for preStop, then SIGTERM; SIGKILL when the grace, which began with the wait, is over."""
        process = pod.process
        if process is None or process.returncode is not None:
            return
        ends_at = time.monotonic() + pod.template.grace_seconds
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(process.wait()), pod.template.pre_stop_seconds)
        if process.returncode is None:
            process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(process.wait()), max(0.0, ends_at - time.monotonic()))
        if process.returncode is None:
            pod.was_killed = True
            process.kill()
            await process.wait()

    def _set_ready(self, pod: Pod, *, is_ready: bool) -> None:
        if pod.is_ready == is_ready or (is_ready and pod.is_deleted):
            return
        pod.is_ready = is_ready
        pod.ready_since = time.monotonic() if is_ready else None
        for tell in self.changed:
            tell()


@contextlib.asynccontextmanager
async def kubelet_on(folder: Path, secrets: Secrets, *, speed: float = 1.0) -> AsyncIterator[Kubelet]:
    """Lend a kubelet, all of whose pods are gone afterwards."""
    kubelet = Kubelet(folder, secrets, speed=speed)
    try:
        yield kubelet
    finally:
        await kubelet.close()
