"""The profiles that come along say what their titles promise, and a slip of the finger in one is refused."""

from pathlib import Path

import pytest
from tests.load.samples import schedule

from telemed_load.gates import gates_of
from telemed_load.problems import LoadProblem
from telemed_load.profile import PROFILES, Day, Stampede, Stricter, default_scale, load_profile
from telemed_load.shapes import STAMPEDE, Schedule, hour_factor

NAMES = sorted(path.stem for path in PROFILES.glob("*.yaml") if path.stem != "mix")


def test_every_shape_has_a_profile() -> None:
    """Those that the README lists."""
    shapes = {"day", "steady", "spike", "stampede", "surge", "soak", "breakpoint"}
    assert set(NAMES) == shapes | {"peak", "peak-knee"}


def test_a_day_is_one_of_100_000_consultations() -> None:
    """On average 35 requests a second, about three times that at the peak."""
    day = schedule("day")
    shape = day.profile.shape
    assert isinstance(shape, Day)
    rates = [day.requests_per_second(at) for at in range(int(shape.seconds))]

    assert shape.consultations_per_day == 100_000
    assert 29 <= day.requests_per_consultation <= 32
    assert 34 <= sum(rates) / len(rates) <= 37
    assert 2.8 <= max(rates) / (sum(rates) / len(rates)) <= 3.3
    assert day.consultations_per_second(-5) == day.consultations_per_second(0)


def test_as_many_come_as_the_curve_says() -> None:
    """Consultations of a whole day, in the window, within three standard deviations."""
    day = schedule("day")
    came = sum(one.journey == "patient" and one.at >= 0 for one in day.arrivals())

    expected = 100_000 * 180 / 86_400
    assert abs(came - expected) < 3 * expected**0.5


def test_a_spike_is_five_times_as_many() -> None:
    """From one moment to the next, and back."""
    spike = schedule("spike")

    assert [round(spike.requests_per_second(at)) for at in (29.9, 30, 49.9, 50)] == [50, 250, 250, 50]


def test_a_surge_is_bookings_and_nothing_else() -> None:
    """333 a second, each one request."""
    surge = schedule("surge")

    assert {one.journey for one in surge.arrivals()} == {"booking"}
    assert (surge.requests_per_consultation, surge.requests_per_second(5)) == (1, 333)


def test_a_peak_is_ten_times_that_of_a_million_a_day() -> None:
    """116 bookings and 2,000 searches a second, and limits of its own."""
    peak = schedule("peak")
    searches = sum(
        share * step.times
        for name, share in peak.weights.items()
        for step in peak.mix.journeys[name].steps
        if step.do == "search"
    )

    assert round(peak.consultations_per_second(5)) == 116
    assert round(peak.consultations_per_second(5) * searches, -1) == 2000
    limits = {gate.slo: gate.threshold_seconds for gate in gates_of(peak.profile)}
    assert (limits["reads-latency"], limits["writes-latency"]) == (0.05, 0.15)


def test_the_peaks_knee_is_the_same_load() -> None:
    """Only its shape differs, or the fraction would be one of something else."""
    peak, knee = schedule("peak").profile, schedule("peak-knee").profile

    assert (peak.journeys, peak.stricter, peak.people) == (knee.journeys, knee.stricter, knee.people)


@pytest.mark.parametrize(
    ("stricter", "word"),
    [
        ({"reads-latency": Stricter(threshold_seconds=0.5)}, "less strict"),
        ({"availability": Stricter(objective_ratio=0.99)}, "less strict"),
        ({"availability": Stricter(threshold_seconds=0.5)}, "no time"),
        ({"reads": Stricter(threshold_seconds=0.1)}, "no gate"),
    ],
)
def test_no_profile_asks_for_less_than_was_promised(stricter: dict[str, Stricter], word: str) -> None:
    """Or it would pass what the objective fails."""
    with pytest.raises(LoadProblem, match=word):
        gates_of(schedule().profile.model_copy(update={"stricter": stricter}))


def test_a_stampede_is_500_at_one_instant_for_each_slot() -> None:
    """As many rounds as there are slots."""
    stampede = schedule("stampede")
    shape = stampede.profile.shape
    assert isinstance(shape, Stampede)
    came = list(stampede.arrivals())

    assert {one.journey for one in came} == {STAMPEDE}
    assert len({one.at for one in came}) == shape.slots
    assert len(came) == 500 * shape.slots


def test_a_breakpoint_rises_until_its_last_step() -> None:
    """By a quarter each time."""
    steps = schedule("breakpoint")

    assert [round(steps.requests_per_second(at)) for at in (0, 15, 30)] == [50, 62, 78]


def test_a_day_begins_as_it_ends() -> None:
    """Midnight lies between the last hour and the first."""
    shape = schedule("day").profile.shape
    assert isinstance(shape, Day)

    assert hour_factor(shape, 0) == pytest.approx(hour_factor(shape, shape.seconds))


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("title: Again\nsurprise: 1", "surprise"),
        ("title: Again\nshape: {kind: steady, requests_per_second: -1, seconds: 5}", "requests_per_second"),
        ("title: [", "no YAML"),
        ("journeys: {nobody-knows: 1}", "nobody-knows"),
        ("journeys: {patient: -1}", "journeys.patient"),
        ("shape: {kind: steady, requests_per_second: .inf, seconds: 5}", "finite"),
        ("shape: {kind: steady, requests_per_second: 5, seconds: .inf}", "finite"),
        (f"shape: {{kind: day, consultations_per_day: 1, seconds: 5, hours: {[0] * 24}}}", "nobody comes"),
        (f"shape: {{kind: day, consultations_per_day: 1, seconds: 5, hours: {[-1, *[1] * 23]}}}", "hours.0"),
        (
            "shape: {kind: spike, requests_per_second: 5, times: 2, begins_at_seconds: 9, lasts_seconds: 2, "
            "seconds: 9.5}",
            "over after 11 s, the window after 9.5 s",
        ),
    ],
)
def test_a_slip_of_the_finger_is_named(tmp_path: Path, line: str, word: str) -> None:
    """A setting that nothing reads is none."""
    text = (PROFILES / "steady.yaml").read_text()
    for name in (one.partition(":")[0] for one in line.splitlines()):
        text = "\n".join(one for one in text.splitlines() if not one.startswith(f"{name}:"))
    file = tmp_path / "mine.yaml"
    file.write_text(f"{text}\n{line}\n")

    with pytest.raises(LoadProblem, match=word):
        load_profile(str(file))


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    """An editor's other encoding is no fault of the platform."""
    file = tmp_path / "mine.yaml"
    file.write_bytes("title: Café".encode("latin-1"))

    with pytest.raises(LoadProblem, match=r"mine\.yaml is no text in UTF-8"):
        load_profile(str(file))


def test_a_load_to_which_nobody_comes_is_refused() -> None:
    """Before there is a platform, and not by a division."""
    profile, mix = load_profile("steady")

    with pytest.raises(LoadProblem, match="Nobody comes"):
        Schedule(profile.model_copy(update={"journeys": {"patient": 0.0}}), mix, 1.0)


def test_an_unknown_profile_names_the_known_ones() -> None:
    """One sentence."""
    with pytest.raises(LoadProblem, match=r"breakpoint, day, .*surge"):
        load_profile("weekend")


def test_a_small_machine_bears_less() -> None:
    """One core gets half of what two get; sixteen get no more than the profile says."""
    assert [default_scale(cores) for cores in (1, 2, 16)] == [0.5, 1.0, 1.0]


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_lets_somebody_come(name: str) -> None:
    """It can be played."""
    assert next(Schedule(*load_profile(name), 1.0).arrivals()).at < 5
