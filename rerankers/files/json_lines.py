"""A strict reader of JSON lines, plain or compressed: the first bad line raises an error with its number.

Only blank lines are skipped: a line that a reader skips silently becomes a wrong number in a paper.
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
    """Yield the number (from 1) and the text of each line that is not blank, without its line end.

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
    """Yield the line number (from 1) and the decoded JSON object of each line that is not blank.

    Raises:
        InputError: as `read_lines`; or a line is not a JSON object.
    """
    for number, line in read_lines(path):
        yield number, json_object(path, number, line)


def json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    """Decode one line of a file as a JSON object.

    Args:
        path: the file, for the error message.
        number: the line's number, for the error message.
        line: the line's text.

    Raises:
        InputError: the line holds broken JSON, or another JSON value than an object.
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
    """One JSON object of a file, with methods that return its values and check their type.

    Each method raises an `InputError` that names file and line where a value is missing or of the wrong kind.

    Args:
        path: the file it stands in, for messages.
        line: the line it stands on.
        values: the object.
        where: how messages call the object if it is a part of the line, e.g. "hit 3".
    """

    def __init__(self, path: Path, line: int, values: dict[str, Any], where: str = "") -> None:
        self.path, self.line, self.values, self.where = path, line, values, where

    def fail(self, reason: str) -> NoReturn:
        """Raise an `InputError` with this reason and the object's file and line."""
        raise InputError.at(self.path, self.line, f"{self.where}: {reason}" if self.where else reason)

    def get(self, key: str) -> Any:
        """Return the value of a key, which must be present; the value may be of any type."""
        if key not in self.values:
            self.fail(f"the key {key!r} is missing; found {_key_list(self.values)}")
        return self.values[key]

    def first_key(self, keys: Sequence[str]) -> str:
        """Return the first of `keys` that the object has, preferring one whose value is not null."""
        for key in keys:
            if self.values.get(key) is not None:
                return key
        null_key = next((key for key in keys if key in self.values), None)
        if null_key is None:
            others = f" (read too: {', '.join(map(repr, keys[1:]))})" if keys[1:] else ""
            self.fail(f"the key {keys[0]!r} is missing{others}; found {_key_list(self.values)}")
        return null_key

    def text(self, key: str) -> str:
        """Return the value of a key, which must be a string that can be written as UTF-8."""
        value = self.get(key)
        if not isinstance(value, str):
            self.fail(f"{key!r} must be a string, not {type(value).__name__}")
        try:
            value.encode()
        except UnicodeEncodeError:
            self.fail(f"{key!r} holds half a surrogate pair, which is no character; correct the text")
        return value

    def identifier(self, key: str) -> str:
        """Return the value of a key as an id, as a TREC run needs it.

        It must be a string without white space, or a whole number, which is returned as text.
        """
        value = self.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        identifier = _id(self.text(key))
        if identifier is None:
            self.fail(f"{key!r} must be an id without white space and zero bytes, not {_excerpt(value)}")
        return identifier

    def add(self, values: dict[str, _Value], kind: str, key: str, value: _Value) -> None:
        """Enter `key: value` into a mapping that is filled line by line; fail if the key is there already.

        Args:
            values: the mapping.
            kind: how the message calls the key, such as "query id".
            key: the new key.
            value: its value.
        """
        if key in values:
            self.fail(f"{kind} {_excerpt(key)} appears a second time; keep one of them")
        values[key] = value

    def number(self, key: str) -> float:
        """Return the value of a key, which must be a finite number within the range of 32-bit floats."""
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
    """Return the error that says that a compressed file is damaged at a line."""
    return InputError.at(path, line, f"the compressed file is damaged ({error}); fetch it again")


def _id(text: str) -> str | None:
    """Return the text if it is a valid id for a TREC run, else None.

    An id is not empty, and holds neither white space nor a zero byte.
    """
    parts = text.split()
    return parts[0] if len(parts) == 1 and parts[0] == text and "\0" not in text else None


def _excerpt(value: object) -> str:
    """Return the `repr` of a value for an error message, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _key_list(keys: Iterable[str]) -> str:
    """Return the first eight keys as one text for an error message: quoted, with commas between them."""
    names = [_excerpt(key) for key in keys]
    return ", ".join([*names[:8], *(["..."] if len(names) > 8 else [])]) or "no key"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
