"""Removes secrets from printed errors, log records and tracebacks (`rerankers.text.redaction`).

Errors are one line each; the middle of a very long one is left out.
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
    """Return an error message on one line, without secrets and cut in the middle to 1,000 characters."""
    text = printable(redacted(text))  # whole: half a secret would not be known as one
    if len(text) <= _LONGEST:
        return text
    start, end = _LONGEST * 3 // 4, _LONGEST // 4 - 1
    return f"{text[:start]}…{text[-end:]}"


class RedactingFormatter(logging.Formatter):
    """A log formatter that removes secrets from records and tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a log record as text without secrets."""
        return redacted(super().format(record))


def show_debugging() -> None:
    """Print the program's log records and final traceback to standard error, without secrets."""
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("%(levelname)s:%(name)s:%(message)s"))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("rerankbench").setLevel(logging.DEBUG)
    sys.excepthook = _show


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an uncaught exception's traceback without secrets; a hook for `sys.excepthook`."""
    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))
