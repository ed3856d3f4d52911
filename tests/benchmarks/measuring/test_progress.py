"""Progress: plain lines off a terminal, a bar on one."""

from __future__ import annotations

import io

import pytest

from benchmarks.measuring.progress import Progress, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_off_a_terminal_a_line_every_while_estimates_the_rest() -> None:
    seconds = iter([0.0, 5.0, 20.0, 21.0, 40.0, 41.0])
    stream = io.StringIO()
    with Progress("work", 10, done=2, stream=stream, now=lambda: next(seconds)) as progress:
        for _ in range(5):
            progress.advance()
    # At 20 s two steps are done by this process and six are left; at 40 s four are done and four left.
    assert stream.getvalue().splitlines() == [
        "work: 4 of 10, about 60 s left",
        "work: 6 of 10, about 40 s left",
    ]


def test_on_a_terminal_there_is_a_bar() -> None:
    stream = Terminal()
    with Progress("work", 2, stream=stream) as progress:
        progress.advance(2)
    assert "work: 100%" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.31, "0.3 s"), (42.4, "42 s"), (200.0, "3 min"), (7500.0, "2 h 5 min")],
)
def test_durations_are_as_precise_as_a_person_needs(seconds: float, text: str) -> None:
    assert duration(seconds) == text
