"""Draws a run: latency over time, percentiles, throughput against latency. PNG, from numbers alone."""

import io
import math
from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from telemed_load.gates import gates_of
from telemed_load.latency import Milliseconds
from telemed_load.measurements import Measurements
from telemed_load.shapes import Schedule

READS, WRITES, MUTED = "#1f6f8b", "#c0562f", "#8a8a8a"
SIDES = (("reads", READS, "reads-latency"), ("writes", WRITES, "writes-latency"))
NEVER_SECONDS = 10.0  # no answer that counts, at the time-out of all profiles
WINDOW = 5  # seconds that a point of latency is made of
SIZE, DPI = (9.0, 4.2), 110
PERCENTILES = (0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)


def draw_all(schedule: Schedule, measured: Measurements) -> dict[str, bytes]:
    """Give every picture by its name."""
    pictures: dict[str, Callable[[Figure, Schedule, Measurements], None]] = {
        "latency": _latency,
        "percentiles": _percentiles,
        "throughput": _throughput,
    }
    return {name: _drawn(draw, schedule, measured) for name, draw in pictures.items()}


def _drawn(draw: Callable[[Figure, Schedule, Measurements], None], schedule: Schedule, measured: Measurements) -> bytes:
    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    draw(figure, schedule, measured)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _sides(schedule: Schedule) -> list[tuple[str, str, float]]:
    """Give reads and writes, their colour, and the limit of their p95 in seconds."""
    limits = {gate.slo: gate.threshold_seconds or math.nan for gate in gates_of(schedule.profile)}
    return [(which, color, limits[slo]) for which, color, slo in SIDES]


def _windows(measured: Measurements, which: str, seconds: float) -> list[tuple[float, Milliseconds]]:
    """Give the sample of each window of the run, by its middle."""
    windows = []
    for begin in range(0, math.ceil(seconds), WINDOW):
        part = [measured.seconds[at] for at in range(begin, begin + WINDOW) if at in measured.seconds]
        sample = Milliseconds.sum(getattr(second, which) for second in part)
        if sample.count:
            windows.append((begin + WINDOW / 2, sample))
    return windows


def _latency(figure: Figure, schedule: Schedule, measured: Measurements) -> None:
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
    seconds = schedule.profile.seconds
    for which, color, limit in _sides(schedule):
        windows = _windows(measured, which, seconds)
        at = [middle for middle, _ in windows]
        above.plot(at, [_ms(one, 0.95) for _, one in windows], color=color, label=f"{which}, p95")
        above.plot(at, [_ms(one, 0.5) for _, one in windows], color=color, alpha=0.4, lw=1, label=f"{which}, median")
        above.axhline(limit * 1000, color=color, ls=":", lw=1)
    figure.suptitle(schedule.profile.title)
    _in_milliseconds(above)
    above.legend(fontsize="small", ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    ticks = sorted(measured.seconds)
    below.plot(ticks, [measured.seconds[at].all.count for at in ticks], color=MUTED, lw=0.8, label="requests")
    failed = [measured.seconds[at].all.never for at in ticks]
    below.fill_between(ticks, failed, color="#b00020", label="failed", step="mid")
    below.plot(ticks, [schedule.requests_per_second(at) for at in ticks], color="black", lw=1, label="intended rate")
    below.set(xlabel="seconds (dotted: limits of the p95; 10,000 ms: no answer or a 5xx)", ylabel="a second")
    below.set_ylim(0, 1.4 * below.get_ylim()[1])  # room for the legend
    below.legend(fontsize="small", ncols=3, loc="upper left")


def _percentiles(figure: Figure, schedule: Schedule, measured: Measurements) -> None:
    axes = figure.subplots()
    places = [-math.log10(1 - ratio) for ratio in PERCENTILES]
    for which, color, limit in _sides(schedule):
        whole = Milliseconds.sum(getattr(second, which) for second in measured.seconds.values())
        if not whole.count:
            continue
        axes.plot(places, [_ms(whole, ratio) for ratio in PERCENTILES], color=color, marker="o", ms=3,
                  label=f"{which} ({whole.count} requests)")  # fmt: skip
        axes.axhline(limit * 1000, color=color, ls=":", lw=1)
    axes.set_xticks(places, [f"p{100 * ratio:g}" for ratio in PERCENTILES])
    axes.set(title=f"{schedule.profile.title}: percentiles")
    _in_milliseconds(axes)
    if measured.seconds:
        axes.legend(fontsize="small")
    axes.grid(visible=True, alpha=0.3)


def _throughput(figure: Figure, schedule: Schedule, measured: Measurements) -> None:
    axes = figure.subplots()
    for which, color, limit in _sides(schedule):
        windows = _windows(measured, which, schedule.profile.seconds)
        together = dict(_windows(measured, "all", schedule.profile.seconds))
        rates = [together[middle].count / WINDOW for middle, _ in windows]
        axes.scatter(
            rates, [_ms(one, 0.95) for _, one in windows], s=12, color=color, label=f"{which}, p95 of {WINDOW} s"
        )
        axes.axhline(limit * 1000, color=color, ls=":", lw=1)
    axes.set(xlabel="requests a second, all together", title=f"{schedule.profile.title}: throughput against latency")
    _in_milliseconds(axes)
    if measured.seconds:
        axes.legend(fontsize="small")
    axes.grid(visible=True, alpha=0.3)


def _in_milliseconds(axes: Axes) -> None:
    """Mark 1, 2, 5, 10, … with plain numbers."""
    axes.set(yscale="log", ylabel="ms from the intended start")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _ms(sample: Milliseconds, ratio: float) -> float:
    """Give the quantile for a picture; what was never served is drawn at its upper edge, not left out."""
    return min(sample.quantile(ratio), NEVER_SECONDS) * 1000
