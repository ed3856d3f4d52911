"""A reader of comma-separated tables with a line of column names, as spreadsheets and databases write them.

Quoted fields may hold separators, doubled quotes and line ends. The separator is the one of comma, semicolon,
tab and bar that the line of names holds most often.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from rerankers.errors import InputError
from rerankers.files.input_files import DAMAGED, open_once
from rerankers.files.json_lines import Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIX = ".csv"
_SEPARATORS = ",;\t|"
_LONGEST_FIELD = 1 << 30
"""Characters; Python's own limit is 131,072."""


def separated_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a table by column name in lower case, each with the line on which it begins.

    Raises:
        InputError: the file cannot be read, has no line of names, names a column twice, or a row has another
            number of fields.
    """
    try:
        with open_once(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
            yield from _rows(path, text)
    except UnicodeDecodeError as error:
        raise InputError.at(path, None, "is not UTF-8; convert the file to UTF-8") from error
    except csv.Error as error:
        raise InputError.at(path, None, f"cannot be read as a table ({error}); correct the quotes") from error
    except (*DAMAGED, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError.at(path, None, f"cannot be read ({reason}); check the path") from error


def _rows(path: Path, text: io.TextIOWrapper) -> Iterator[Row]:
    """Yield the rows of an open table; arguments are its path, for messages, and its text."""
    csv.field_size_limit(_LONGEST_FIELD)
    first = text.readline()
    if not first.strip():
        raise InputError.at(path, 1, "the first line does not name the columns; write id, title, text, ...")
    separator = max(_SEPARATORS, key=first.count)
    [fields] = csv.reader([first], delimiter=separator, strict=True)
    names = [field.strip().lower() for field in fields]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise InputError.at(path, 1, f"two columns are called {repeated!r}; rename one")
    reader = csv.reader(text, delimiter=separator, strict=True)
    line = 2
    for values in reader:
        if values:
            if len(values) != len(names):
                reason = f"expected {len(names)} fields ({', '.join(names)}), found {len(values)}"
                raise InputError.at(path, line, f"{reason}; quote fields that hold a separator")
            yield Row(path, line, dict(zip(names, values, strict=True)))
        line = reader.line_num + 2
