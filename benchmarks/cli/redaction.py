"""Shows errors, log records and tracebacks without secrets (`rerankers.text.redaction`).

Errors are one line each; where one repeats an input of thousands of characters, its middle is left out.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING

from rerankers.text.printable import printable
from rerankers.text.redaction import redacted

if TYPE_CHECKING:
    from types import TracebackType

_LONGEST = 1000  # characters of an error


def as_line(text: str) -> str:
    """Return an error without secrets, and without its middle where it is long: both ends say what to do."""
    text = printable(redacted(text))  # whole: half a secret would not be known as one
    if len(text) <= _LONGEST:
        return text
    start, end = _LONGEST * 3 // 4, _LONGEST // 4 - 1
    return f"{text[:start]}…{text[-end:]}"


class RedactingFormatter(logging.Formatter):
    """Formats log records without secrets, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one record as text."""
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
