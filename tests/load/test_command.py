"""What is wrong is told in one sentence, with the exit code of a run that says nothing; and what was made stays."""

import fcntl
import json
from pathlib import Path

import pytest
from tests.load.samples import measured, schedule

from telemed_load.command import main
from telemed_load.exposition import compare_all
from telemed_load.gates import load_gates
from telemed_load.results import Circumstances, now, require_writable, result_of, write
from telemed_load.verdict import decide
from telemed_load.wording import table

NOWHERE = "http://127.0.0.1:1"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("load: ")
    assert "Traceback" not in said
    return said


def test_an_address_where_nobody_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not met, not missed."""
    assert NOWHERE in refused(capsys, "--url", NOWHERE, "--results", str(tmp_path))
    assert not (tmp_path / "load-latest.json").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Found out before the load."""
    (tmp_path / "file").write_text("")

    assert "cannot be written" in refused(capsys, "--url", NOWHERE, "--results", str(tmp_path / "file" / "results"))


def test_a_second_load_from_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They would measure one another."""
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = refused(capsys, "--url", NOWHERE, "--results", str(tmp_path))

    assert "Another load is running" in said


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--profile", "weekend"), "weekend"),
        (("--profile", "stampede", "--seconds", "5"), "steps"),
        (("--secret", "no/such/file"), "no/such/file"),
        (("--profile", "spike", "--seconds", "20"), "the spike is over after 50 s"),
    ],
)
def test_what_cannot_be_done_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], word: str
) -> None:
    """In one sentence."""
    assert word in refused(capsys, *arguments, "--url", NOWHERE, "--results", str(tmp_path))


def test_a_secret_that_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Such as the wrong one of two files."""
    (tmp_path / "secret").write_bytes(b"\xff\xfe")

    assert "UTF-8" in refused(capsys, "--secret", str(tmp_path / "secret"), "--results", str(tmp_path))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--scale", "nan"),
        ("--seconds", "inf"),
        ("--scale", "ten"),
        ("--workers", "-1"),
        ("--workers", "2", "--expect-workers", "2"),
    ],
)
def test_what_is_no_number_begins_no_load(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Misused is 2 as well: the run could not be made."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--url", NOWHERE])

    assert ended.value.code == 2
    assert f"argument {arguments[-2]}: " in capsys.readouterr().err


def test_a_fault_of_the_load_is_no_miss_of_the_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody foresaw it, and 1 would say that a gate was missed."""

    def breaks(*_: object) -> int:
        raise RuntimeError

    monkeypatch.setattr("telemed_load.command.run", breaks)

    assert main(["--results", str(tmp_path)]) == 2


def written(folder: Path) -> tuple[dict[str, object], str]:
    plan, run = schedule(), measured()
    run.acknowledged["one"] = {"patient": "p", "slot": "s", "status": "booked"}
    verdict = decide(plan, load_gates(), run, compare_all(load_gates(), run))
    circumstances = Circumstances("day", "make load", "a test", "made up", "looked", now(), 0.5)
    result = result_of(verdict, plan, run, circumstances)
    write(folder, result, plan, run)
    return json.loads((folder / "load-latest.json").read_text()), (folder / "load-latest.html").read_text()


def test_the_verdict_says_everything_that_a_reader_needs(tmp_path: Path) -> None:
    """Machine, commit, data set, command, date."""
    result, _ = written(tmp_path)

    assert result["verdict"] == "met"
    assert result["reasons"] == []
    needed = {"gates", "machine", "commit", "data_set", "command", "date", "server_histogram", "seed", "scale"}
    assert needed <= result.keys()
    assert {gate["slo"] for gate in result["gates"]} == {gate.slo for gate in load_gates()}  # type: ignore[attr-defined]


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    """No address, no script: pictures are inside."""
    _, page = written(tmp_path)

    assert page.count("data:image/png;base64,") == 3
    assert "<script" not in page
    assert "src='http" not in page
    assert "href" not in page


def test_the_page_says_what_was_compared(tmp_path: Path) -> None:
    """Agreeing, too few, and none at all are not the same."""
    plan, run = schedule(), measured({"search": [0.02] * 3000, "book": [None] * 3})
    verdict = decide(plan, load_gates(), run, compare_all(load_gates(), run))
    result = result_of(verdict, plan, run, Circumstances("day", "make load", "a test", "made up", "none", now(), 0.5))
    write(tmp_path, result, plan, run)
    page = (tmp_path / "load-latest.html").read_text()

    assert [one["times"] for one in result["server_histogram"]] == ["compared", "none", "compared"]
    assert "<td>agrees</td>" in page
    assert "<td>none was sent</td>" in page
    assert "<td>never</td>" in page


def test_pictures_are_pictures(tmp_path: Path) -> None:
    """Three PNG files."""
    written(tmp_path)
    pictures = list(tmp_path.glob("*.png"))

    assert len(pictures) == 3
    assert all(one.read_bytes().startswith(b"\x89PNG") for one in pictures)


def test_the_table_is_short(tmp_path: Path) -> None:
    """A line for each gate, the verdict, and why."""
    result, _ = written(tmp_path)
    lines = table(result).splitlines()

    assert lines[-1] == "verdict: met"
    assert len(lines) == 1 + len(load_gates()) + 2


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    """The probe leaves nothing."""
    require_writable(tmp_path / "new")

    assert list((tmp_path / "new").iterdir()) == []


def test_a_knee_says_what_was_missed(tmp_path: Path) -> None:
    """In the file as in the table."""
    plan, run = schedule("breakpoint"), measured({"search": [0.02] * 3000 + [0.4] * 1500}, seconds=45)
    verdict = decide(plan, load_gates(), run, compare_all(load_gates(), run))
    circumstances = Circumstances("breakpoint", "make load", "a test", "made up", "looked", now(), 0.5)
    result = result_of(verdict, plan, run, circumstances)
    write(tmp_path, result, plan, run)

    knee = json.loads((tmp_path / "load-latest.json").read_text())["knee"]
    assert knee["missed"] == ["Reads within 200 ms: p95 is up to 400 ms, 200 ms are promised"]
    lines = table(result).splitlines()
    place = lines.index("held 62 requests a second, missed at 78 requests a second")
    assert lines[place + 1] == f"  - {knee['missed'][0]}"
