"""Shows how far a run is: a bar with an estimate on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from rerankers.text.printable import printable
from rerankers.text.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

LINE_SECONDS = 15.0  # off a terminal, between two lines about one task


class Progress:
    """Progress of one task.

    Args:
        what: names the task.
        total: steps to do in all.
        done: steps done before, by an earlier process.
        stream: where to write; standard error by default.
        now: a monotonic clock in seconds, for the time between lines.
    """

    def __init__(
        self,
        what: str,
        total: int,
        done: int = 0,
        *,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        what = printable(what)
        self._what, self._total, self._done, self._before = what, total, done, done
        self._stream = stream or sys.stderr
        self._now = now
        self._started = self._said = now()

    def __enter__(self) -> Progress:
        self._bar = None
        if self._stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=self._total, initial=self._done, desc=self._what, file=self._stream, dynamic_ncols=True
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, steps: int = 1) -> None:
        """Note that `steps` more are done."""
        self._done += steps
        if self._bar is not None:
            self._bar.update(steps)
            return
        now = self._now()
        if now - self._said >= LINE_SECONDS and self._done < self._total:
            self._said = now
            pace = (now - self._started) / (self._done - self._before)
            left = pace * (self._total - self._done)
            say(f"{self._what}: {self._done} of {self._total}, about {duration(left)} left", self._stream)


def say(line: str, stream: TextIO | None = None) -> None:
    """Write one line about what is going on, without secrets; go on where nothing can be written any more."""
    with suppress(OSError):
        print(printable(redacted(line)), file=stream or sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Return seconds as `0.3 s`, `42 s`, `3 min` or `2 h 5 min`: as precise as a person needs."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
