"""Repeats jobs until the worker is told to stop; no failure of a job ends its loop."""

import asyncio
import contextlib
import random
import time
import traceback
from collections.abc import Iterable
from datetime import timedelta

from telemed.kernel.jobs import Job
from telemed.kernel.problems import Problem
from telemed.kernel.resources import Resources
from telemed.kernel.sqlstates import sqlstate
from telemed.kernel.telemetry.context import begin_trace, current_trace
from telemed.kernel.telemetry.logs import get_logger
from telemed.kernel.telemetry.spans import Kind
from telemed.worker.rules import job_pause

log = get_logger("worker")


async def repeat(job: Job, resources: Resources, stopping: asyncio.Event) -> None:
    """Run the job again and again: at once while there is a batch of it to do, otherwise after its pause.

    After a failure the pause grows, so that a database that is away for minutes is neither given up on nor flooded.
    """
    failures = 0
    while not stopping.is_set():
        # A trace of its own, kept only if it fails or is slow: most runs find nothing to do.
        trace = begin_trace(traceparent=None, request_id=None, decide=lambda _: False)
        token = current_trace.set(trace)
        try:
            with resources.tracing.unit(trace, f"job {job.name}", Kind.INTERNAL, {"telemed.job": job.name}):
                done = await job.run(resources)
        except Exception as error:  # noqa: BLE001 - whatever a job raises, it and the others go on
            failures += 1
            resources.metrics.jobs.labels(job.name, "failed").inc()
            log.error("job.failed", job=job.name, failures=failures, **described(error))  # noqa: TRY400 - see described
            done = 0
        else:
            failures = 0
            resources.metrics.jobs.labels(job.name, "succeeded").inc()
            resources.metrics.job_succeeded.labels(job.name).set(time.time())
        finally:
            current_trace.reset(token)
        if done >= job.batch:
            await asyncio.sleep(0)  # a job that never waits for I/O must not keep the others from their turn
        else:
            chance = random.random()  # noqa: S311 - not a secret
            await _pause(stopping, job_pause(job.every, failures=failures, chance=chance))


async def _pause(stopping: asyncio.Event, pause: timedelta) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), pause.total_seconds())


async def cut_short(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel the tasks and wait for their end; a running COMMIT is waited for.

    Cancels more than once if need be: a driver may forget a cancellation that comes together with its answer.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.1)


def described(error: BaseException) -> dict[str, object]:
    """Say what failed and where, without the exception's own words: the server's may quote a row.

    Problems carry their whole meaning in their name; the way to them says nothing.
    """
    fields: dict[str, object] = {"error": type(error).__name__}
    state = sqlstate(error)
    if state is not None:
        fields["sqlstate"] = state
    if not isinstance(error, Problem):
        # Of the libraries' frames the innermost says enough.
        frames = traceback.extract_tb(error.__traceback__)
        told = [frame for frame in frames if "telemed" in frame.filename or frame is frames[-1]]
        fields["frames"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in told]
    return fields
