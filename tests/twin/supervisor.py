"""Starts again what has ended, as Kubernetes does with pods; a lost primary is the warden's."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from tests.twin.member import Member

from telemed.local.problems import LocalProblem

log = logging.getLogger("twin.supervisor")

LOOKS_EVERY_SECONDS = 0.2
RESTARTS_AFTER_SECONDS = 2.0  # about what scheduling and pulling nothing take


class Supervisor:
    """Watches members; `run` until cancelled."""

    def __init__(self, members: Iterable[Member], is_mine: Callable[[Member], bool]) -> None:
        self._members = list(members)
        self._is_mine = is_mine
        self._restarting: dict[Member, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Look after all of them, for ever."""
        try:
            while True:
                for member in self._members:
                    if self._has_ended(member) and member not in self._restarting:
                        self._restarting[member] = asyncio.create_task(self._restart(member))
                await asyncio.sleep(LOOKS_EVERY_SECONDS)
        finally:
            for task in self._restarting.values():
                task.cancel()
            await asyncio.gather(*self._restarting.values(), return_exceptions=True)

    def _has_ended(self, member: Member) -> bool:
        # Whoever was never started is still being started by the twin.
        return member.is_wanted and member.starts > 0 and not member.is_running and self._is_mine(member)

    async def _restart(self, member: Member) -> None:
        try:
            await asyncio.sleep(RESTARTS_AFTER_SECONDS)
            if self._has_ended(member):
                log.warning("%s ended and is started again", member.name)
                await member.start()
        except (AssertionError, OSError, RuntimeError, LocalProblem) as error:
            log.error("%s does not start: %s", member.name, error)  # noqa: TRY400 - the sentence says it all
        finally:
            del self._restarting[member]
