"""A display of activities on standard error: one changing line on a terminal, plain lines elsewhere.

The innermost activity is shown, or of several side by side the one that moved last. An activity that is over
within two seconds is not shown at all.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from rerankers.progress.activities import listening
from rerankers.text.printable import printable
from rerankers.text.quantities import duration
from rerankers.text.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rerankers.progress.activities import Activity

SILENT_SECONDS = 2.0
"""Longest silence: an activity that goes on for longer is shown."""
COUNTED_SECONDS = 15.0
"""Off a terminal, between two lines on an activity whose steps are counted."""
UNCOUNTED_SECONDS = 60.0
"""Off a terminal, between two lines on any other activity."""

_TICK_SECONDS = 0.5
_DRAW_SECONDS = 0.1
_BAR = 20


@dataclass(slots=True)
class _OpenActivity:
    """An activity under way; times are in seconds of the display's clock."""

    activity: Activity
    started: float
    on_top: float  # since when it is the one to show
    moved: float = 0.0  # when its last step was done
    line: float | None = None  # when its last plain line was written

    def text(self, now: float) -> str:
        """Return what is being done, and how far it is."""
        activity = self.activity
        what, done, total = redacted(printable(activity.what)), activity.done, activity.total or 0
        seconds = now - self.started
        so_far = f", {duration(seconds)}" if seconds > 2 * SILENT_SECONDS else ""
        if not total:
            return f"{what}: {done:,} done{so_far}" if done else f"{what}{so_far}"
        place = f"{activity.unit} {min(done + 1, total):,}" if activity.unit else f"{done:,}"
        steps = done - activity.done_before
        if steps:
            pace = (self.moved - self.started) / steps
            left = max(0.0, pace * (total - done) - (now - self.moved))
            time = f", about {duration(left)} left" if done < total else ""
        else:
            time = so_far
        return f"{what}: {place} of {total:,}{time}"


class Display:
    """A listener that shows activities to people; may be called from any thread.

    Args:
        stream: where to write; standard error, as it is when something is written, by default.
        now: a monotonic clock in seconds.
        ticks: whether a thread shows activities that go on for long without a step.
    """

    def __init__(
        self, stream: TextIO | None = None, now: Callable[[], float] = time.monotonic, *, ticks: bool = True
    ) -> None:
        self._stream, self._now, self._ticks = stream, now, ticks
        self._lock = threading.RLock()
        self._open: list[_OpenActivity] = []  # the last is shown
        self._started = self._written = 0.0  # when the first of them began, and anything was last written
        self._width = 0  # of the line that the terminal shows
        self._stop: threading.Event | None = None

    def begin(self, activity: Activity) -> None:
        """Show an activity that begins, once the display was silent for two seconds."""
        with self._lock:
            now = self._now()
            if not self._open:
                self._started = self._written = now
            self._open.append(_OpenActivity(activity, now, now))
            self._tick_if_wanted()
            if self._is_terminal:
                self._draw(now)
            elif activity.is_timed and activity.what and now - self._written >= SILENT_SECONDS:
                self._write_line(self._open[-1], now)

    def advance(self, activity: Activity) -> None:
        """Show how far an activity is."""
        with self._lock:
            now = self._now()
            self._put_on_top(activity, now)
            self._show(now)

    def end(self, activity: Activity) -> None:
        """Show what goes on after an activity, or nothing."""
        with self._lock:
            now = self._now()
            self._open = [entry for entry in self._open if entry.activity is not activity]
            if self._open:
                self._open[-1].on_top = now
            self._tick_if_wanted()
            if self._is_terminal:
                self._draw(now)

    def tick(self) -> None:
        """Show an activity that goes on without a step."""
        with self._lock:
            self._show(self._now())

    def say(self, line: str) -> None:
        """Write one line without secrets; go on where nothing can be written any more."""
        with self._lock:
            self.clear()
            self._write(printable(redacted(line)) + "\n")
            now = self._now()
            self._written = now
            if self._is_terminal:
                self._draw(now)

    def clear(self) -> None:
        """Take the changing line away, so that something else can be written in its place."""
        with self._lock:
            if self._width:
                self._write("\r" + " " * self._width + "\r")
                self._width = 0

    @property
    def is_ticking(self) -> bool:
        """True if a thread shows what goes on: something does, and nothing is timed."""
        return self._stop is not None

    @property
    def _is_terminal(self) -> bool:
        stream = self._stream or sys.stderr
        with suppress(ValueError, AttributeError):  # it is closed, or there is none
            return stream.isatty()
        return False

    def _put_on_top(self, activity: Activity, now: float) -> None:
        for entry in self._open:
            if entry.activity is activity:
                entry.moved = now
                if entry is not self._open[-1]:
                    self._open.remove(entry)
                    self._open.append(entry)
                    entry.on_top = now
                return

    def _show(self, now: float) -> None:
        if not self._open:
            return
        if self._is_terminal:
            if now - self._written >= _DRAW_SECONDS:
                self._draw(now)
            return
        entry = self._open[-1]
        activity = entry.activity
        total = activity.total or 0
        is_over = total and activity.done >= total
        if is_over or not activity.what:
            return
        if entry.line is None:
            since = entry.started if total else entry.on_top
            is_due = now - since >= SILENT_SECONDS
        else:
            is_due = now - entry.line >= (COUNTED_SECONDS if total else UNCOUNTED_SECONDS)
        if is_due:
            self._write_line(entry, now)

    def _write_line(self, entry: _OpenActivity, now: float) -> None:
        entry.line = self._written = now
        self._write(entry.text(now) + "\n")

    def _draw(self, now: float) -> None:
        """Draw the changing line over the last one."""
        entry = self._open[-1] if self._open else None
        if entry is None or not entry.activity.what or now - self._started < SILENT_SECONDS:
            self.clear()
            return
        columns = shutil.get_terminal_size().columns - 1
        text = (_bar(entry.activity) + entry.text(now))[:columns]
        self._write("\r" + text.ljust(self._width))
        self._width, self._written = len(text), now

    def _write(self, text: str) -> None:
        stream = self._stream or sys.stderr
        with suppress(OSError, ValueError, AttributeError):
            stream.write(text)
            stream.flush()

    def _tick_if_wanted(self) -> None:
        """Run a thread while something is open and nothing is timed: it would disturb what is measured."""
        wanted = self._ticks and bool(self._open) and not any(one.activity.is_timed for one in self._open)
        if wanted and self._stop is None:
            self._stop = threading.Event()
            threading.Thread(target=self._run, args=(self._stop,), name="progress", daemon=True).start()
        elif not wanted and self._stop is not None:
            self._stop.set()
            self._stop = None

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(_TICK_SECONDS):
            with self._lock:
                if not stop.is_set():
                    self.tick()


def _bar(activity: Activity) -> str:
    if not activity.total:
        return ""
    full = _BAR * min(activity.done, activity.total) // activity.total
    return f"[{'#' * full}{'.' * (_BAR - full)}] "


class _Above:
    """Standard output on the terminal that shows the changing line, which gives way to what is printed."""

    def __init__(self, stream: TextIO, display: Display) -> None:
        self._stream, self._display = stream, display

    def write(self, text: str) -> int:
        self._display.clear()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


DISPLAY = Display()
"""The display of this process."""


@contextmanager
def shown() -> Iterator[Display]:
    """Show on standard error what goes on inside this block, and return the display."""
    with listening(DISPLAY):
        if sys.stdout is not None and sys.stdout.isatty() and sys.stderr.isatty():
            above: Any = _Above(sys.stdout, DISPLAY)
            with redirect_stdout(above):
                yield DISPLAY
        else:
            yield DISPLAY
