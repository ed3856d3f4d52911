"""A strict reader of JSON lines, plain or compressed: the first wrong line stops it, with its number and why.

Nothing is skipped but blank lines, for what a reader skips silently becomes a wrong number in a paper.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from rerankers.errors import InputError
from rerankers.files.input_files import DAMAGED, open_once

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from rerankers.files.input_files import Digest

_Value = TypeVar("_Value")
_LARGEST = (2 - 2**-23) * 2.0**127  # in 32 bits, as runs and measures hold scores


def read_lines(path: Path, digest: Digest | None = None) -> Iterator[tuple[int, str]]:
    """Yield lines that are not blank, with their numbers (1-based) and without line ends.

    Args:
        path: a file, FIFO or pipe, plain or compressed by gzip, bzip2 or xz; it is opened once.
        digest: a hash that is updated with the file's bytes, all of them once the last line is out.

    Raises:
        InputError: no such file, not UTF-8, a damaged or another binary format, or no line at all.
    """
    number = 0
    has_lines = False
    try:
        with open_once(path, digest) as file:
            for number, raw in enumerate(file, start=1):
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if "\0" in line:
                    reason = "this line holds a zero byte, where other programs end an id; remove it"
                    raise InputError.at(path, number, reason)
                if line.strip():
                    has_lines = True
                    yield number, line
    except UnicodeDecodeError as error:
        raise InputError.at(path, number, "this line is not UTF-8; convert the file to UTF-8") from error
    except DAMAGED as error:
        raise _damaged(path, number + 1, error) from error
    except OSError as error:
        if error.errno is None:  # not of the system, but of bz2
            raise _damaged(path, number + 1, error) from error
        reason = f"cannot be read ({error.strerror or error}); check the path"
        raise InputError.at(path, None, reason) from error
    if not has_lines:
        raise InputError.at(path, None, "the file is empty; check how it was made")


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield JSON objects, one a line, with their line numbers.

    Raises:
        InputError: as `read_lines`; or a line is not a JSON object.
    """
    for number, line in read_lines(path):
        yield number, json_object(path, number, line)


def json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    """Return the JSON object that a line holds.

    Raises:
        InputError: it holds something else.
    """
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = f"broken JSON ({error}); write one complete object on each line"
        raise InputError.at(path, number, reason) from error
    if not isinstance(value, dict):
        reason = f"expected a JSON object, found {type(value).__name__}; write one object on each line"
        raise InputError.at(path, number, reason)
    return value


class Row:
    """One JSON object of a file, whose values are asked for by name and kind.

    Args:
        path: the file it stands in, for messages.
        line: the line it stands on.
        values: the object.
        where: how messages call the object if it is a part of the line, e.g. "hit 3".
    """

    def __init__(self, path: Path, line: int, values: dict[str, Any], where: str = "") -> None:
        self.path, self.line, self.values, self.where = path, line, values, where

    def fail(self, reason: str) -> NoReturn:
        """Raise the `InputError` that points here."""
        raise InputError.at(self.path, self.line, f"{self.where}: {reason}" if self.where else reason)

    def get(self, key: str) -> Any:
        """Return any value; the key has to be there."""
        if key not in self.values:
            self.fail(f"the key {key!r} is missing; found {_few(self.values)}")
        return self.values[key]

    def first_key(self, keys: Sequence[str]) -> str:
        """Return the first of several names of a value that the object has, one that is not null if any."""
        for key in keys:
            if self.values.get(key) is not None:
                return key
        null_key = next((key for key in keys if key in self.values), None)
        if null_key is None:
            others = f" (read too: {', '.join(map(repr, keys[1:]))})" if keys[1:] else ""
            self.fail(f"the key {keys[0]!r} is missing{others}; found {_few(self.values)}")
        return null_key

    def text(self, key: str) -> str:
        """Return a string that can be written as UTF-8."""
        value = self.get(key)
        if not isinstance(value, str):
            self.fail(f"{key!r} must be a string, not {type(value).__name__}")
        try:
            value.encode()
        except UnicodeEncodeError:
            self.fail(f"{key!r} holds half a surrogate pair, which is no character; correct the text")
        return value

    def identifier(self, key: str) -> str:
        """Return an id: a string without white space, as a TREC run needs it; a whole number is taken too."""
        value = self.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        identifier = _id(self.text(key))
        if identifier is None:
            self.fail(f"{key!r} must be an id without white space and zero bytes, not {_cut(value)}")
        return identifier

    def add(self, values: dict[str, _Value], what: str, key: str, value: _Value) -> None:
        """Enter a value under a key that must be new."""
        if key in values:
            self.fail(f"{what} {_cut(key)} appears a second time; keep one of them")
        values[key] = value

    def number(self, key: str) -> float:
        """Return a finite number."""
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail(f"{key!r} must be a number, not {type(value).__name__}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            self.fail(f"{key!r} must be a finite number, not {str(value)[:20]}")
        if abs(number) > _LARGEST:
            self.fail(f"{key!r} is {str(value)[:20]}, which 32 bits cannot hold; scale the numbers down")
        return number


def _damaged(path: Path, line: int, error: Exception) -> InputError:
    return InputError.at(path, line, f"the compressed file is damaged ({error}); fetch it again")


def _id(text: str) -> str | None:
    """Return the id, or None if it is empty, or white space or a zero byte would
    tear it apart in a TREC run.
    """
    parts = text.split()
    return parts[0] if len(parts) == 1 and parts[0] == text and "\0" not in text else None


def _cut(value: object) -> str:
    """Return a value as a message of one line shows it."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _few(keys: Iterable[str]) -> str:
    names = [_cut(key) for key in keys]
    return ", ".join([*names[:8], *(["..."] if len(names) > 8 else [])]) or "no key"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
