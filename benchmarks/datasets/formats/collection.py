"""Reads the passages and the queries of a folder: BEIR's JSON lines, or tables as MS MARCO's.

A table has one passage or query a line, separated by tabs: two columns, id and text, or as many as its first
line names, among them an id, `text` and perhaps `title`. Fields are taken as they stand, without quotation.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.datasets.formats import field_names
from benchmarks.datasets.formats.records import SUFFIXES, query_text, read_records, texts_of
from rerankers.errors import InputError
from rerankers.files.input_files import COMPRESSED, uncompressed_name
from rerankers.files.json_lines import Row, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

_TABLE = ".tsv"
_STEMS = {"corpus": ("corpus", "collection"), "queries": ("queries",)}
_IDS = {
    "corpus": ("_id", "id", "corpus-id", *field_names.DOC_ID),
    "queries": ("_id", "id", "query-id", *field_names.QUERY_ID),
}
_TEXTS = {"corpus": ("text", "contents", "content", "passage"), "queries": ("text", "query")}


def find_part(folder: Path, part: str) -> Path:
    """Return the file of a folder's `corpus` or `queries`.

    Raises:
        InputError: there is none, or several in different forms.
    """
    found = _parts(folder, part)
    if not found:
        reason = f"there is no {part}.jsonl or {part}.tsv in this folder; it needs corpus and queries"
        if (folder / part).is_dir():
            reason = "this folder has MTEB's layout; make candidates of it with rerankbench convert"
        raise InputError.at(folder, None, reason)
    if len(found) > 1:
        names = " and ".join(path.name for path in found.values())
        raise InputError.at(folder, None, f"{names} are both here; remove one of them")
    return next(iter(found.values()))


def has_part(folder: Path, part: str) -> bool:
    """Return whether a folder has a file of its `corpus` or `queries`."""
    return bool(_parts(folder, part))


def _parts(folder: Path, part: str) -> dict[str, Path]:
    """Return the files of a part by their name without a compression."""
    found: dict[str, Path] = {}
    for stem in _STEMS[part]:
        for suffix in (*SUFFIXES, _TABLE):
            for compression in ("", *COMPRESSED):
                path = folder / f"{stem}{suffix}{compression}"
                if path.exists() and not path.is_dir():
                    found.setdefault(f"{stem}{suffix}", path)
    return found


def read_passages(path: Path) -> dict[str, str]:
    """Return texts by passage id, each title and text joined by a space.

    Raises:
        InputError: a line is wrong, or an id appears twice.
    """
    passages: dict[str, str] = {}
    for row in _rows(path, "corpus"):
        row.add(
            passages,
            "passage",
            row.identifier(row.first_key(_IDS["corpus"])),
            texts_of(row, _TEXTS["corpus"]),
        )
    return _some(path, passages)


def read_fields(path: Path, name: str) -> dict[str, str]:
    """Return one field of the passages that have it, such as their title, by passage id.

    Raises:
        InputError: a line is wrong, or no passage has the field.
    """
    fields: dict[str, str] = {}
    for row in _rows(path, "corpus"):
        if row.values.get(name) is not None:
            fields[row.identifier(row.first_key(_IDS["corpus"]))] = row.text(name)
    if not any(map(str.strip, fields.values())):
        raise InputError.at(path, None, f"no passage has a {name!r}. Name the field that holds it")
    return fields


def read_queries(path: Path) -> dict[str, str]:
    """Return texts by query id.

    Raises:
        InputError: a line is wrong, an id appears twice, or a text is empty.
    """
    queries: dict[str, str] = {}
    for row in _rows(path, "queries"):
        query_id = row.identifier(row.first_key(_IDS["queries"]))
        row.add(queries, "query", query_id, query_text(row, row.first_key(_TEXTS["queries"])))
    return _some(path, queries)


def _some(path: Path, texts: dict[str, str]) -> dict[str, str]:
    if not texts:
        raise InputError.at(path, None, "names columns and holds nothing else; check how it was made")
    return texts


def _rows(path: Path, part: str) -> Iterator[Row]:
    if Path(uncompressed_name(path)).suffix != _TABLE:
        yield from read_records(path)
        return
    names: list[str] = []
    for number, line in read_lines(path):
        fields = line.split("\t")
        if not names:
            names = ["_id", "text"]
            if fields[0].lower() in _IDS[part] and len(fields) > 1:
                names = [field.lower() for field in fields]
                continue
        if len(fields) != len(names):
            expected = f"{len(names)} columns ({', '.join(names)}), separated by tabs"
            advice = "name other columns in a first line, such as id, title, text"
            raise InputError.at(path, number, f"expected {expected}, found {len(fields)}; {advice}")
        yield Row(path, number, dict(zip(names, fields, strict=True)))
