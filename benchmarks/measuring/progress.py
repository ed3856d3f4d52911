"""Lines about what is going on, on standard error; activities are those of `rerankers.progress`."""

from __future__ import annotations

from rerankers.progress.display import DISPLAY


def say(line: str) -> None:
    """Write one line about what is going on, without secrets; go on where nothing can be written any more."""
    DISPLAY.say(line)
