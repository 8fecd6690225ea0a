"""Who else used the machine is read from the system, not guessed."""

import subprocess
import sys
from pathlib import Path

from telemed_load.bystanders import Moment, look, others_ratio


def system(folder: Path, cpu: str, **processes: str) -> Path:
    folder.mkdir()
    (folder / "stat").write_text(f"cpu  {cpu}\ncpu0 1 2 3\n")
    for name, line in processes.items():
        (folder / name.removeprefix("p")).mkdir()
        (folder / name.removeprefix("p") / "stat").write_text(line)
    return folder


def test_what_we_started_is_ours_and_the_rest_is_others(tmp_path: Path) -> None:
    """Children, their children, and the time of those that ended; a name may look like the end of one."""
    zeros = "0 " * 9
    proc = system(
        tmp_path / "proc",
        "400 0 100 900 100 0 0 0 50 0",
        p10=f"10 (make) S 1 {zeros.strip()} 1 1 0 0 0",
        p11=f"11 (pg (x) y) S 10 {zeros.strip()} 7 3 20 10 0",
        p12=f"12 (child) S 11 {zeros.strip()} 50 10 0 0 0",
        p99=f"99 (other) S 1 {zeros.strip()} 300 0 0 0 0",
    )

    assert look(proc, root=11) == Moment(total=1500, busy=500, ours=100)


def test_others_are_what_is_neither_ours_nor_idle() -> None:
    """Of a thousand ticks 600 were busy, 150 of them ours."""
    assert others_ratio(Moment(0, 0, 0), Moment(1000, 600, 150)) == 0.45
    assert others_ratio(Moment(0, 0, 0), Moment(1000, 600, 601)) == 0
    assert others_ratio(None, Moment(1, 1, 1)) is None


def test_a_system_that_does_not_tell_is_not_asked(tmp_path: Path) -> None:
    """As macOS."""
    assert look(tmp_path) is None


def test_this_systems_own_figures_are_understood() -> None:
    """A child that works for a while is ours, also when it has ended."""
    before = look()
    subprocess.run([sys.executable, "-c", "sum(range(30_000_000))"], check=True)
    after = look()

    if before is not None and after is not None:
        assert after.ours > before.ours
        assert after.busy >= before.busy
