"""Progress is announced, and shown to those who ask: a changing line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from rerankers import create
from rerankers.progress import Activity, Display, is_heard, listening, shown
from rerankers.text.quantities import duration, megabytes

if TYPE_CHECKING:
    from collections.abc import Iterator


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Seconds that pass when told."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pipe(clock: Clock) -> Iterator[tuple[Display, io.StringIO]]:
    """Listen with a display whose stream is no terminal."""
    stream = io.StringIO()
    display = Display(stream, clock, ticks=False)
    with listening(display):
        yield display, stream


@pytest.fixture
def terminal(clock: Clock) -> Iterator[tuple[Display, Terminal]]:
    """Listen with a display whose stream is a terminal."""
    stream = Terminal()
    display = Display(stream, clock, ticks=False)
    with listening(display):
        yield display, stream


def screen(stream: io.StringIO) -> list[str]:
    """Return the lines that a terminal shows after this output."""
    lines = []
    for written in stream.getvalue().split("\n"):
        line = ""
        for part in written.split("\r"):
            line = part + line[len(part) :]
        lines.append(line.rstrip())
    return lines


def test_nothing_is_shown_to_those_who_do_not_ask(capfd: pytest.CaptureFixture[str]) -> None:
    assert not is_heard()
    with Activity("work", 2) as activity:
        activity.advance()
    create("reverse").close()
    assert capfd.readouterr() == ("", "")


def test_what_is_over_within_two_seconds_is_not_shown(
    clock: Clock, pipe: tuple[Display, io.StringIO]
) -> None:
    display, stream = pipe
    for _ in range(9):
        with Activity("work", 2) as activity:
            clock.seconds += 0.9
            activity.advance()
            display.tick()
            clock.seconds += 0.9
            activity.advance()
    assert stream.getvalue() == ""


def test_in_a_pipe_a_line_every_while_estimates_the_rest(
    clock: Clock, pipe: tuple[Display, io.StringIO]
) -> None:
    display, stream = pipe
    with Activity("work", 10, done=2, unit="query") as activity:
        clock.seconds = 2.0
        display.tick()  # before the first step nobody knows how long one takes
        for clock.seconds in (5.0, 16.0, 18.0, 20.0, 33.0):
            activity.advance()
    # At 18 s three steps are done by this process and five are left: 18 / 3 * 5; at 33 s five, and three.
    assert stream.getvalue().splitlines() == [
        "work: query 3 of 10",
        "work: query 6 of 10, about 30 s left",
        "work: query 8 of 10, about 20 s left",
    ]


def test_work_without_steps_is_named_after_two_seconds_and_then_each_minute(
    clock: Clock, pipe: tuple[Display, io.StringIO]
) -> None:
    display, stream = pipe
    with Activity("the command"), Activity("loading"):
        for second in range(100):
            clock.seconds = float(second)
            display.tick()
    assert stream.getvalue().splitlines() == ["loading", "loading, 62 s"]


def test_a_first_step_that_takes_long_tells_how_long(clock: Clock, pipe: tuple[Display, io.StringIO]) -> None:
    display, stream = pipe
    with Activity("work", 3, unit="query"):
        for clock.seconds in (2.0, 16.0, 17.0, 31.0):
            display.tick()
    assert stream.getvalue().splitlines() == ["work: query 1 of 3", "work: query 1 of 3, 17 s"]


def test_while_latencies_are_measured_only_the_steps_show_something(clock: Clock) -> None:
    stream = io.StringIO()
    display = Display(stream, clock)  # with its thread, which must not run now
    with listening(display), Activity("the command"):
        clock.seconds = 3.0
        with Activity("system", 3, unit="query", is_timed=True) as activity:
            assert stream.getvalue() == "system: query 1 of 3\n"  # a first query may take minutes
            clock.seconds = 30.0
            ticking = [display.is_ticking]
            activity.advance()
        ticking.append(display.is_ticking)
    assert [*ticking, display.is_ticking] == [False, True, False]
    assert stream.getvalue().splitlines()[1:] == ["system: query 2 of 3, about 54 s left"]


def test_on_a_terminal_one_line_changes_and_is_gone_in_the_end(
    clock: Clock, terminal: tuple[Display, Terminal]
) -> None:
    display, stream = terminal
    with Activity("the command"):
        clock.seconds = 3.0
        with Activity("a system of a long name", 4, unit="query") as activity:
            clock.seconds = 5.0
            activity.advance()
            [line] = screen(stream)
            assert line.startswith("[#####...............] ")
            assert line.endswith("a system of a long name: query 2 of 4, about 6.0 s left")
        with Activity("drawing"):
            assert screen(stream) == ["drawing"]
            display.say("a note")
            assert screen(stream) == ["a note", "drawing"]
    assert screen(stream) == ["a note", ""]


def test_of_systems_side_by_side_the_last_that_moved_is_shown(
    clock: Clock, terminal: tuple[Display, Terminal]
) -> None:
    _, stream = terminal
    with Activity("one", 3, unit="query") as one, Activity("two", 3, unit="query") as two:
        for activity, name in ((one, "one"), (two, "two"), (one, "one")):
            clock.seconds += 4.0
            activity.advance()
            assert f"] {name}: query" in screen(stream)[0]


def test_a_stream_that_is_closed_stops_no_work(clock: Clock) -> None:
    stream = io.StringIO()
    stream.close()
    display = Display(stream, clock, ticks=False)
    with listening(display), Activity("work"):
        clock.seconds = 9.0
        display.tick()
        display.say("a note")


def test_a_program_that_asks_sees_which_weights_are_loaded(
    tiny_encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(Display, "begin", lambda _, activity: said.append(activity.what))
    with shown():
        create("embedding", model=tiny_encoder).close()
    assert any(tiny_encoder in line and "MB" in line for line in said)
    assert any("libraries" in line for line in said)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.31, "0.3 s"), (42.4, "42 s"), (200.0, "3 min"), (7500.0, "2 h 5 min")],
)
def test_durations_are_as_precise_as_a_person_needs(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_sizes_are_as_precise_as_a_person_needs() -> None:
    assert [megabytes(size) for size in (1, 83_506_384, 1_340_000_000)] == ["1 MB", "84 MB", "1.3 GB"]
