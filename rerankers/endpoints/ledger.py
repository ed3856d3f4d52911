"""The ledger of a budget: a file of dollar amounts that stays readable after a kill or a full disk."""

from __future__ import annotations

import errno
import json
import math
import os
from typing import TYPE_CHECKING

from rerankers.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


class Ledger:
    """A file of dollar amounts, one JSON object a line; it is made when the first one is added.

    Args:
        path: the file.

    Attributes:
        total: sum of the amounts that the file held when it was opened, in dollars.

    Raises:
        InputError: a line is not an amount, so that the total is unknown.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content = path.read_bytes() if path.exists() else b""
        whole, newline, torn = content.rpartition(b"\n")
        self._torn_at = len(whole + newline) if torn else None  # by a kill: the amount was never booked
        self._unwritten: list[bytes] = []
        self.total = sum(self._amount(line, number) for number, line in enumerate(whole.splitlines(), 1))

    def add(self, dollars: float, is_estimate: bool = False) -> None:
        """Append an amount in dollars to the file, and any earlier ones that could not be written.

        Args:
            dollars: the amount; negative to take back what was set aside.
            is_estimate: whether it rests on an estimate of tokens.

        Raises:
            OSError: the disk is full or refuses to write; the amount is kept in memory, and the file as it
                was.
        """
        line = {"dollars": dollars, **({"is_estimate": True} if is_estimate else {})}
        self._unwritten.append(json.dumps(line).encode() + b"\n")
        with self.path.open("ab", buffering=0) as file:
            if self._torn_at is not None:
                file.truncate(self._torn_at)
                self._torn_at = None
            size, content = file.seek(0, os.SEEK_END), b"".join(self._unwritten)
            if file.write(content) != len(content):
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._unwritten.clear()

    def forget(self) -> None:
        """Drop the latest amount that `add` could not write, so that it will never be written."""
        self._unwritten.pop()

    def _amount(self, line: bytes, number: int) -> float:
        """Return the dollars on line `number` of the file.

        Raises:
            InputError: the line holds no finite amount.
        """
        why: Exception | None = None
        try:
            dollars = float(json.loads(line)["dollars"])
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
            dollars, why = math.nan, error
        if not math.isfinite(dollars):
            raise InputError.at(self.path, number, "this is no amount of dollars; correct the line") from why
        return dollars
