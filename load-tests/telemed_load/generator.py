"""The glue to Locust. Its users are the hands that arrivals are given to; they make no load of their own accord.

Locust alone is a closed model: a user who waits for a slow answer asks for nothing meanwhile, so the slower a server
is, the less it is asked. Here people come on their own (`stage.py`), each worker its share of them; Locust starts the
hands, spreads them over workers, carries messages, and shows its statistics, in buckets of a millisecond and counted
from the intended start.

Importing this changes the standard library of the process (gevent): nothing else in the package does.
"""

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import gevent
import locust.stats
from locust import User, constant, events, task
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner, Runner, WorkerRunner

from telemed_load.gates import gates_of, step_misses
from telemed_load.job import JOB_VARIABLE, Job
from telemed_load.measurements import Measurements, merged
from telemed_load.profile import Breakpoint
from telemed_load.shapes import Schedule
from telemed_load.stage import DRAIN_SECONDS, SETTLE_SECONDS, Stage
from telemed_load.wire import each_address, fetch

JOB, RESULT = "telemed-load-job", "telemed-load-result"
LATE_SECONDS = 30.0  # beyond the load's own end, for workers to report
MESSAGE_AHEAD_SECONDS = 1.0  # until every worker has been told


def milliseconds(response_time: float) -> int:
    """Give the bucket of a millisecond, rounded up, in place of Locust's two digits."""
    return max(1, math.ceil(response_time))


locust.stats.bucket_response_time = milliseconds


class Person(User):
    """A hand: goes through the journeys of those who come, one after the other, over a connection of its own."""

    wait_time = constant(0)

    @task
    def take_part(self) -> None:
        """Be there until the load is over."""
        stage = _Troupe.of(self.environment).stage_when_there()
        stage.be_a_hand()
        gevent.sleep(1)  # nothing more comes, and Locust ends the users soon


class _Troupe:
    """What this process is in the load: all of it, the master, or a worker."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._stage: Stage | None = None
        self._there = gevent.event.Event()
        self._job: Job | None = None
        self._results: list[Measurements] = []
        self._told = 0
        self._metrics: list[str] = []
        self._scrapes: dict[str, list[str]] = {}

    @staticmethod
    def of(environment: Environment) -> "_Troupe":
        """Give this process's."""
        troupe = getattr(environment, "telemed_troupe", None)
        assert isinstance(troupe, _Troupe)
        return troupe

    def stage_when_there(self) -> Stage:
        """Wait until there is something to do."""
        self._there.wait()
        assert self._stage is not None
        return self._stage

    @property
    def _runner(self) -> Runner:
        assert self._environment.runner is not None
        return self._environment.runner

    # --- the one that knows the job

    def begin(self) -> None:
        """Tell every worker its part, or play all of it."""
        self._job = Job.read(Path(os.environ[JOB_VARIABLE]))
        if isinstance(self._runner, MasterRunner):
            workers = sorted(self._runner.clients)
            self._told = len(workers)
            for place, client in enumerate(workers):
                part = self._job.population.part(place, len(workers))
                content = json.dumps(self._job.with_population(part).to_json())
                message = {"job": content, "worker": place, "workers": len(workers)}
                self._runner.send_message(JOB, message, client_id=client)
            ahead = MESSAGE_AHEAD_SECONDS
        else:
            self._told, ahead = 1, 0.0
            self.play(self._job, 0, 1)
        gevent.spawn(self._conduct, ahead)

    def _conduct(self, ahead: float) -> None:
        """Look at the servers' metrics when the window begins and after it; then write everything down, and quit."""
        job = self._job
        assert job is not None
        profile = job.schedule.profile
        gevent.sleep(ahead + SETTLE_SECONDS + profile.warm_up_seconds)
        self._scrape("before")
        patience = profile.seconds + profile.generator.request_timeout_seconds + DRAIN_SECONDS + LATE_SECONDS
        deadline = time.monotonic() + patience
        while len(self._results) < self._told and time.monotonic() < deadline:
            gevent.sleep(0.1)
        self._scrape("after")
        whole = merged(self._results)
        whole.scrapes = self._scrapes
        whole.counts["workers_told"], whole.counts["workers_heard"] = self._told, len(self._results)
        whole.counts["locust_requests"] = self._environment.stats.total.num_requests
        job.write_result(whole)
        self._runner.quit()

    def _scrape(self, when: str) -> None:
        assert self._job is not None
        if when == "before":  # afterwards the same: a pod that came meanwhile saw a part only, and shows in the sums
            self._metrics = [address for url in self._job.metrics for address in each_address(url)]
        pages = []
        for url in self._metrics:
            try:
                pages.append(fetch(url))
            except OSError as error:
                pages.append(f"# {error}")
        self._scrapes[when] = pages

    def hear(self, content: str) -> None:
        """Take a worker's result."""
        self._results.append(Measurements.from_json(json.loads(content)))

    # --- the one that plays

    def play(self, job: Job, worker: int, workers: int) -> None:
        """Let this worker's share of the people come."""
        # The population of a worker is its own already; only the arrivals are still to be split.
        stage = Stage(job.schedule, job.population, job.url, worker, workers)
        stage.told = self._tell_locust
        self._stage = stage
        self._there.set()
        stage.start()
        gevent.spawn(self._watch_steps, stage, job.schedule)
        gevent.spawn(self._report, stage)

    def _report(self, stage: Stage) -> None:
        stage.over.wait()
        content = json.dumps(stage.measured.to_json())
        if isinstance(self._runner, WorkerRunner):
            self._runner.send_message(RESULT, {"measured": content})
        else:
            self.hear(content)

    def _watch_steps(self, stage: Stage, schedule: Schedule) -> None:
        """End a breakpoint after the first step in which a gate is missed."""
        shape = schedule.profile.shape
        if not isinstance(shape, Breakpoint):
            return
        gates, step = gates_of(schedule.profile), 0
        while not stage.over.is_set() and step < shape.steps:
            gevent.sleep(0.2)
            if stage.now() < (step + 1) * shape.step_seconds:
                continue
            seconds = range(int(step * shape.step_seconds), int((step + 1) * shape.step_seconds))
            if step_misses(gates, stage.measured, seconds):
                stage.end_early(f"a gate was missed in step {step + 1}")
                return
            step += 1

    def _tell_locust(self, method: str, name: str, seconds: float, length: int, failure: str) -> None:
        self._environment.events.request.fire(  # type: ignore[no-untyped-call] # Locust types no event
            request_type=method,
            name=name,
            response_time=seconds * 1000,
            response_length=length,
            exception=RuntimeError(failure) if failure else None,
            context={},
        )


@events.init.add_listener  # type: ignore[untyped-decorator] # the same
def _set_up(environment: Environment, **_: Any) -> None:
    troupe = _Troupe(environment)
    environment.telemed_troupe = troupe  # type: ignore[attr-defined] # where Locust lets its users find things
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        runner.register_message(JOB, _on_job)
    elif isinstance(runner, MasterRunner):
        runner.register_message(RESULT, _on_result)


@events.test_start.add_listener  # type: ignore[untyped-decorator] # the same
def _begin(environment: Environment, **_: Any) -> None:
    if isinstance(environment.runner, MasterRunner | LocalRunner):
        _Troupe.of(environment).begin()


def _on_job(environment: Environment, msg: Any, **_: Any) -> None:
    job = Job.from_json(json.loads(msg.data["job"]))
    _Troupe.of(environment).play(job, int(msg.data["worker"]), int(msg.data["workers"]))


def _on_result(environment: Environment, msg: Any, **_: Any) -> None:
    _Troupe.of(environment).hear(msg.data["measured"])
