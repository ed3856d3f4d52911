"""Keeps keys out of what is shown or written: endpoints repeat them in errors, tracebacks repeat those.

Errors are one line each; where one repeats an input of thousands of characters, its middle is left out.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

_SECRET = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
_LONGEST = 1000  # characters of an error
_SHORTEST = 8  # shorter values are words that stand in texts for other reasons
_BASIC = re.compile(r"\bBasic +(?=\S*[A-Z0-9=])[A-Za-z0-9+/]{4,}=*")  # how a password in an address is sent


def redacted(text: str) -> str:
    """The text with the value of each secret of the environment replaced by its variable's name.

    Of a password in an address, which is sent in another form, nothing is left.
    """
    for name, value in os.environ.items():
        if name.upper().endswith(_SECRET) and len(value) >= _SHORTEST:
            text = text.replace(value, f"${name}")
    return _BASIC.sub("Basic ...", text)


def as_line(text: str) -> str:
    """An error without secrets, and without its middle where it is long: both ends say what to do."""
    text = redacted(text)  # first: half a secret would not be known as one
    if len(text) <= _LONGEST:
        return text
    start, end = _LONGEST * 3 // 4, _LONGEST // 4 - 1
    return f"{text[:start]}…{text[-end:]}"


class RedactingFormatter(logging.Formatter):
    """Formats log records without secrets, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        return redacted(super().format(record))


def show_debugging() -> None:
    """Let the program's log records, and the traceback it may end with, be shown, without secrets."""
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("%(levelname)s:%(name)s:%(message)s"))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("rerankbench").setLevel(logging.DEBUG)
    sys.excepthook = _show


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))
