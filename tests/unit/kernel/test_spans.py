"""Notes of what was done: nested as the code is, bounded, and nothing where nobody looks."""

import asyncio

import pytest

from telemed.kernel.telemetry.spans import MAX_NOTES, Kind, Sketch, around, look_at, look_away, span


def names(sketch: Sketch) -> list[tuple[str, str | None]]:
    """Each note's name with that of the note around it."""
    return [(note.name, note.parent.name if note.parent else None) for note in sketch.notes]


def test_notes_are_nested_as_the_code_is() -> None:
    """Those inside of another one know it; siblings do not."""
    sketch = Sketch()
    token = look_at(sketch)
    with span("outer"), span("inner", Kind.CLIENT):
        pass
    with span("next"):
        pass
    look_away(token)
    assert names(sketch) == [("outer", None), ("inner", "outer"), ("next", None)]
    assert all(sketch.started_ns <= note.started_ns <= note.ended_ns for note in sketch.notes)


def test_nothing_is_noted_where_nobody_looks() -> None:
    """Most processes most of the time: the context costs next to nothing and keeps nothing."""
    with span("unseen") as note:
        assert around() is None
    assert note.sketch is None
    assert note.started_ns == 0


def test_a_failure_is_noted_by_its_type_and_goes_on() -> None:
    """What the exception says may be a patient's."""
    sketch = Sketch()
    token = look_at(sketch)
    with pytest.raises(ValueError, match="secret"), span("fails"):
        raise ValueError("secret")
    look_away(token)
    assert sketch.notes[0].error == "ValueError"


def test_there_is_a_bound_and_what_is_beyond_is_counted() -> None:
    """Notes inside of one that was left out are left out, too."""
    sketch = Sketch()
    token = look_at(sketch)
    for _ in range(MAX_NOTES):
        with span("kept"):
            pass
    with span("left out"), span("inside"):
        pass
    look_away(token)
    assert len(sketch.notes) == MAX_NOTES
    assert sketch.left_out >= 1
    assert {note.name for note in sketch.notes} == {"kept"}


async def test_tasks_that_run_at_once_do_not_mix_their_notes() -> None:
    """Each has its own context: the parent is who started it, not who ran last."""
    sketch = Sketch()
    token = look_at(sketch)
    both_inside = asyncio.Barrier(2)

    async def work(name: str) -> None:
        with span(name):
            await both_inside.wait()
            with span(f"{name}.inner"):
                await both_inside.wait()

    with span("together"):
        await asyncio.gather(work("first"), work("second"))
    look_away(token)
    found = dict(names(sketch))
    assert found["first.inner"] == "first"
    assert found["second.inner"] == "second"
    assert found["first"] == found["second"] == "together"


async def test_what_a_shared_flight_does_after_the_end_is_nobodys() -> None:
    """The first caller's context goes on in it; a closed sketch takes no more notes."""
    sketch = Sketch()
    token = look_at(sketch)
    goes_on = asyncio.Event()

    async def flight() -> None:
        await goes_on.wait()
        with span("late"):
            pass

    task = asyncio.create_task(flight())
    look_away(token)
    sketch.is_closed = True
    goes_on.set()
    await task
    assert sketch.notes == []
