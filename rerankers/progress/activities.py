"""Activities: work that may take seconds, announced to a listener while it goes on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType


class Listener(Protocol):
    """A recipient of announcements, which may come from any thread."""

    def begin(self, activity: Activity) -> None:
        """Take note of an activity that begins now, inside those that have begun and not ended."""

    def advance(self, activity: Activity) -> None:
        """Take note that `activity.done` has grown."""

    def end(self, activity: Activity) -> None:
        """Take note of an activity that has ended, whether it succeeded or failed."""


_listener: Listener | None = None


class Activity:
    """A piece of work, for the length of a `with` block.

    Args:
        what: names the work for people, such as `loading weights of some-model (84 MB)`.
        total: steps in all; None or 0 where they are not counted or not known beforehand.
        done: steps done before, by an earlier process.
        unit: names a step, such as `query`, where the step under way is to be shown.
        is_timed: whether latencies are measured during the activity. A listener then does nothing on its own,
            but only when it is called.

    Attributes:
        done: steps done so far.
        done_before: `done` when the activity was made.
    """

    def __init__(
        self, what: str, total: int | None = None, done: int = 0, *, unit: str = "", is_timed: bool = False
    ) -> None:
        self.what, self.total, self.unit, self.is_timed = what, total, unit, is_timed
        self.done = self.done_before = done
        self._listener: Listener | None = None

    def __enter__(self) -> Activity:
        self._listener = _listener
        if self._listener is not None:
            self._listener.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            self._listener.end(self)
        self._listener = None

    def advance(self, steps: int = 1) -> None:
        """Announce that `steps` more are done."""
        self.done += steps
        if self._listener is not None:
            self._listener.advance(self)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Announce to a listener, in place of any other, what begins inside this block in any thread."""
    global _listener
    before = _listener
    _listener = listener
    try:
        yield
    finally:
        _listener = before


def is_heard() -> bool:
    """Return whether there is a listener; without one, no description need be made."""
    return _listener is not None
