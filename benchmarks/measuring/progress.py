"""Lines about the progress of work; activities with an estimate are those of `rerankers.progress`."""

from __future__ import annotations

from rerankers.progress.display import DISPLAY


def say(line: str) -> None:
    """Write one line to the display of activities, by default on standard error, with secrets redacted.

    Nothing happens where the line cannot be written.
    """
    DISPLAY.say(line)
