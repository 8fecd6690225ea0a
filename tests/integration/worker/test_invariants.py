"""How invariants are looked at: what fails says nothing, and keeps nobody else from their look."""

from datetime import timedelta

import pytest
from sqlalchemy.exc import DBAPIError
from tests.support.events import LoggedEvents

from telemed.cli import DEPLOYABLES
from telemed.kernel.invariants import Invariant, invariants_job
from telemed.kernel.resources import Resources

EVERY = timedelta(minutes=1)
TWO = "SELECT gen_random_uuid() AS id FROM generate_series(1, 2)"


def shown(resources: Resources, name: str, what: str = "violations") -> float | None:
    """Give the gauge's value; None if there was no look yet."""
    return resources.metrics.registry.get_sample_value(f"telemed_invariant_{what}", {"invariant": name})


async def test_what_is_found_is_shown_and_logged(worker_resources: Resources, events: LoggedEvents) -> None:
    """Over all windows together."""
    windows = ((timedelta(0), timedelta(days=1)), (timedelta(days=1), timedelta(days=2)))
    in_windows = f"{TWO} WHERE CAST(:until AS timestamptz) - CAST(:since AS timestamptz) = interval '1 day'"
    job = invariants_job(
        "look", EVERY, [Invariant("none", f"{TWO} WHERE false"), Invariant("four", in_windows, windows)]
    )
    assert await job.run(worker_resources) == 0
    assert (shown(worker_resources, "none"), shown(worker_resources, "four")) == (0, 4)
    assert [(event["invariant"], event["count"]) for event in events.named("invariant.violated")] == [("four", 4)]


async def test_a_query_that_fails_leaves_what_was_known(worker_resources: Resources) -> None:
    """A look that did not come to its end must not look like peace; the others are looked at all the same."""
    broken = Invariant("broken", f"{TWO} WHERE 1 / (extract(epoch FROM CAST(:now AS timestamptz))::bigint * 0) = 1")
    await invariants_job("look", EVERY, [Invariant("broken", TWO)]).run(worker_resources)
    before = shown(worker_resources, "broken", "checked_timestamp_seconds")
    assert before is not None

    with pytest.raises(DBAPIError):
        await invariants_job("look", EVERY, [broken, Invariant("sound", TWO)]).run(worker_resources)

    assert shown(worker_resources, "broken") == 2
    assert shown(worker_resources, "broken", "checked_timestamp_seconds") == before
    assert shown(worker_resources, "sound") == 2


async def test_what_was_never_looked_at_shows_nothing(worker_resources: Resources) -> None:
    """Not even a zero."""
    with pytest.raises(DBAPIError):
        await invariants_job("look", EVERY, [Invariant("broken", "SELECT 1 / 0 AS id")]).run(worker_resources)
    assert shown(worker_resources, "broken") is None
    assert shown(worker_resources, "broken", "checked_timestamp_seconds") is None


async def test_the_worker_may_look_at_everything_that_the_services_declare(worker_resources: Resources) -> None:
    """With its own rights, on a database that has nothing in it."""
    jobs = [job for service in DEPLOYABLES["all"] for job in service.jobs if job.name.startswith("invariants-")]
    assert len(jobs) == 3
    for job in jobs:
        assert await job.run(worker_resources) == 0
