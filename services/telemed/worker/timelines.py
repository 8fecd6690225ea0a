"""Notes each timeline of the primary as data, from which replicas' readers see that a replica has reached it."""

from datetime import timedelta

from telemed.kernel.jobs import Job
from telemed.kernel.resources import Resources
from telemed.worker import queries


async def note_timeline(resources: Resources) -> int:
    """Note the timeline if it is new, which it is after a promotion; never has more to do."""
    await resources.db.transact(queries.note_timeline, now=resources.clock.now())
    return 0


# Until it is noted, reads with a token of the new timeline go to the primary: a second of that is no harm.
NOTE_TIMELINE = Job("timeline-note", timedelta(seconds=1), note_timeline)
