"""Measurements, profiles and pages of metrics made up for tests."""

from collections.abc import Mapping, Sequence

from telemed_load.measurements import Health, Kind, Measurements
from telemed_load.profile import load_profile
from telemed_load.routes import ROUTES
from telemed_load.shapes import Schedule

EDGES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, float("inf"))
HISTOGRAM = "telemed_http_request_duration_seconds"


def schedule(name: str = "day") -> Schedule:
    """Give a profile of load-tests/profiles/ at its own rates."""
    profile, mix = load_profile(name)
    return Schedule(profile, mix, 1.0)


def measured(times: Mapping[str, Sequence[float | None]] | None = None, *, seconds: int = 100) -> Measurements:
    """Give a run in which all went well: thousands of quick reads and writes, unless *times* says otherwise."""
    made = Measurements()
    given = times or {"search": [0.02] * 3000, "book": [0.04] * 500}
    for name, of_kind in given.items():
        kind = made.kinds.setdefault(name, Kind())
        for place, one in enumerate(of_kind):
            kind.latency.add(one)
            second = made.second(place * seconds / len(of_kind))
            (second.reads if ROUTES[name].is_read else second.writes).add(one)
            if one is not None:
                kind.service.add(one)
    if "book" in made.kinds:
        made.kinds["book"].statuses["201"] = made.counts["booked"] = len(given["book"])
    requests = made.requests
    made.counts.update(
        arrivals=requests, planned_requests=requests, sent_requests=requests, workers_told=1, workers_heard=1
    )
    made.health = [[Health(at, 0.3, 0.004) for at in range(seconds)]]
    made.scrapes = {"before": [page({})], "after": [page(given)]}
    return made


def page(times: Mapping[str, Sequence[float | None]], *, slower: float = 1.0) -> str:
    """Give what a server shows that took that many times as long."""
    lines = [f"# TYPE {HISTOGRAM} histogram"]
    for name in sorted({"search", "book", *times}):
        route, taken = ROUTES[name], [one * slower for one in times.get(name, []) if one is not None]
        labels = f'method="{route.method}",route="{route.template}",service="all",status_class="2xx",traffic="user"'
        for edge in EDGES:
            text = "+Inf" if edge == EDGES[-1] else str(edge)
            lines.append(f'{HISTOGRAM}_bucket{{{labels},le="{text}"}} {sum(one <= edge for one in taken)}')
    return "\n".join(lines) + "\n"
