"""A Deployment's controller: replaces a component's pods by the rendered strategy, and stops when nothing moves."""

import asyncio
import time
from dataclasses import dataclass, field

from tests.pods.kubelet import Kubelet
from tests.pods.pod import Pod
from tests.pods.rendered import Rollout

_LOOKS_EVERY_SECONDS = 0.05


@dataclass
class Deployment:
    """The pods of one component."""

    name: str
    kubelet: Kubelet
    rollout: Rollout
    pods: list[Pod] = field(default_factory=list)  # those that are not deleted
    ending: list[Pod] = field(default_factory=list)
    fewest_ready: int = 1000

    async def update(self, rollout: Rollout | None = None) -> bool:
        """Replace every pod, by ones of another template if one is given; False when there is no more progress.

        Also how the first pods come: there is nothing to replace then.
        """
        self.rollout = rollout or self.rollout
        old = self.pods.copy()
        new: list[Pod] = []
        self.fewest_ready = len(self._available())
        moved_at, before = time.monotonic(), (0, 0, 0)
        while len(self._available(new)) < self.rollout.replicas or old:
            if len(new) < self.rollout.replicas and len(self.pods) < self.rollout.replicas + self.rollout.surge:
                new.append(self.kubelet.start(self.name, self.rollout.template))
                self.pods.append(new[-1])
            least = self.rollout.replicas - self.rollout.unavailable
            if old and len(self._available()) > least:
                self._delete(old.pop(0))
            self.fewest_ready = min(self.fewest_ready, sum(pod.is_ready for pod in self.pods))
            now = (len(new), len(old), len(self._available(new)))
            if now != before:
                moved_at, before = time.monotonic(), now
            elif time.monotonic() - moved_at > self.rollout.progress_deadline_seconds / self.kubelet.speed:
                return False
            await asyncio.sleep(_LOOKS_EVERY_SECONDS)
        return True

    async def ended(self) -> None:
        """Wait for those that are being deleted."""
        await asyncio.gather(*(pod.gone.wait() for pod in self.ending))

    def delete_all(self) -> None:
        """Delete what is left."""
        for pod in self.pods.copy():
            self._delete(pod)

    def _delete(self, pod: Pod) -> None:
        self.pods.remove(pod)
        self.ending.append(pod)
        self.kubelet.delete(pod)

    def _available(self, pods: list[Pod] | None = None) -> list[Pod]:
        least = self.rollout.min_ready_seconds / self.kubelet.speed
        now = time.monotonic()
        among = self.pods if pods is None else pods
        return [pod for pod in among if pod.ready_since is not None and now - pod.ready_since >= least]
