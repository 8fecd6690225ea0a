"""Takes every count out of a process, so that `cached_search.py` can measure what counting costs.

Python runs it at the start of a process that has this folder on PYTHONPATH. Nothing else reads it.
"""

from prometheus_client import Counter, Gauge, Histogram

from telemed.kernel.telemetry.tallies import Tally, Timing


def _nothing(*_: object, **__: object) -> None: ...


_WAYS = {
    Counter: ("inc",),
    Gauge: ("inc", "dec", "set"),
    Histogram: ("observe",),
    Tally: ("inc",),
    Timing: ("observe",),
}
for _kind, _names in _WAYS.items():
    for _name in _names:
        setattr(_kind, _name, _nothing)
