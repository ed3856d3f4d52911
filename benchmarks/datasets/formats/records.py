"""A reader of files of objects: JSON lines, one JSON array, or Parquet.

Every object comes as a `Row` with its line, so that an error names the place; rows of Parquet count from 1.
"""

from __future__ import annotations

import json
import re
from itertools import chain
from typing import TYPE_CHECKING, Any, NoReturn

from rerankers.errors import InputError, MissingExtraError
from rerankers.files.json_lines import Row, json_object, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    Line = tuple[int, str]

PARQUET = ".parquet"
SUFFIXES = (".jsonl", ".json", ".ndjson", PARQUET)
"""Suffixes of files of objects, before that of a compression."""

_SPACE = re.compile(r"\s*")


def read_records(path: Path) -> Iterator[Row]:
    """Yield the objects of a file in its order, each as a row.

    Raises:
        InputError: the file cannot be read, or holds something else than objects.
        MissingExtraError: the file is Parquet, and pyarrow is not installed.
    """
    if path.suffix == PARQUET:
        yield from _parquet_rows(path)
        return
    lines = read_lines(path)
    yield from records_of(path, lines)


def records_of(path: Path, lines: Iterator[Line]) -> Iterator[Row]:
    """Yield the objects in lines of JSON, or in one JSON array, each as a row.

    Args:
        path: the file that the lines come from, for messages.
        lines: (line number, text) of each line.

    Raises:
        InputError: as `read_records`.
    """
    first = next(lines)
    whole = chain([first], lines)
    if first[1].lstrip().startswith("["):
        yield from _array_rows(path, list(whole))
    else:
        for number, line in whole:
            yield Row(path, number, json_object(path, number, line))


def query_text(row: Row, key: str) -> str:
    """Return the query text under a row's key.

    Raises:
        InputError: it is missing or empty.
    """
    text = row.text(key)
    if not text.strip():
        row.fail("the query is empty; write it or remove the line")
    return text


def texts_of(row: Row, keys: Sequence[str], title_key: str = "title") -> str:
    """Return a row's passage text: its title, if it has one, and its text, joined by a space.

    Args:
        row: the row.
        keys: names under which the text may be.
        title_key: name of the title.
    """
    title = row.text(title_key) if row.values.get(title_key) is not None else ""
    return f"{title} {row.text(row.first_key(keys))}".strip()


def _array_rows(path: Path, lines: Iterable[Line]) -> Iterator[Row]:
    """Yield the objects of one JSON array, each as a row with the line on which it starts.

    Raises:
        InputError: the array is empty or broken, or holds something else than objects.
    """
    numbers, texts = zip(*lines, strict=True)
    text = "\n".join(texts)
    decode = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode
    place = _skip_space(text, text.index("[") + 1)
    line, counted = 0, 0  # a position in `numbers`, and the characters before `counted` it stands for
    if text.startswith("]", place):
        raise InputError.at(path, numbers[0], "the array is empty; check how it was made")
    is_first = True
    while not text.startswith("]", place):
        if not is_first:
            if not text.startswith(",", place):
                raise _broken(path, numbers[text.count("\n", 0, place)], "expected ',' or ']'")
            place = _skip_space(text, place + 1)
        is_first = False
        line += text.count("\n", counted, place)
        counted = place
        try:
            value, place = decode(text, place)
        except (ValueError, RecursionError) as error:
            raise _broken(path, numbers[line], str(error)) from error
        if not isinstance(value, dict):
            reason = f"expected an array of objects, found {type(value).__name__} in it; correct the file"
            raise InputError.at(path, numbers[line], reason)
        yield Row(path, numbers[line], value)
        place = _skip_space(text, place)
    rest = _skip_space(text, place + 1)
    if rest < len(text):
        last = numbers[text.count("\n", 0, rest)]
        raise InputError.at(path, last, "there is more behind the JSON array; write one array")


def _skip_space(text: str, place: int) -> int:
    """Return the position of the first character from `place` on that is not white space."""
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _broken(path: Path, line: int, reason: str) -> InputError:
    """Return the error for a broken JSON array."""
    return InputError.at(path, line, f"broken JSON in an array ({reason}); write one whole array of objects")


def _refuse_constant(name: str) -> NoReturn:
    """Reject a constant such as NaN in JSON.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{name} is not JSON")


def _parquet_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a Parquet file, numbered from 1.

    Raises:
        InputError: the file cannot be read, or is empty.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{path}: Parquet", "export") from error
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                values: dict[str, Any]
                for values in batch.to_pylist():
                    number += 1
                    yield Row(path, number, values)
    except (OSError, ValueError, pyarrow.ArrowException) as error:  # ids that are not UTF-8 among them
        reason = " ".join(str(error).split())[:200]
        raise InputError.at(path, None, f"cannot be read as Parquet ({reason}); fetch it again") from error
    if not number:
        raise InputError.at(path, None, "the table is empty; check how it was made")
