"""Readers of passages and queries: BEIR's JSON lines, Parquet, tables as MS MARCO's, or comma-separated ones.

A table (.tsv) has one passage or query a line, separated by tabs: two columns, id and text, or as many as its
first line names, among them an id, a text and perhaps a title. Its fields are taken as they stand, without
quotation. A comma-separated table (.csv) always names its columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.datasets.formats import field_names, separated
from benchmarks.datasets.formats.records import SUFFIXES, query_text, read_records, texts_of
from rerankers.errors import InputError
from rerankers.files.input_files import COMPRESSED, uncompressed_name
from rerankers.files.json_lines import Row, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

_TABLE = ".tsv"
_STEMS = {"corpus": ("corpus", "collection", "docs", "documents", "passages"), "queries": ("queries",)}
_IDS = {
    "corpus": ("_id", "id", "corpus-id", *field_names.DOC_ID, "passage_id", "document_id"),
    "queries": ("_id", "id", "query-id", *field_names.QUERY_ID),
}
_TEXTS = {
    "corpus": ("text", "contents", "content", "passage", "body", "document"),
    "queries": ("text", "query", "question"),
}
_TITLES = ("title",)


@dataclass(frozen=True)
class ColumnNames:
    """The column names of a collection; None stands for the field's usual names.

    Attributes:
        doc_id: column of a passage's id.
        title: column of a passage's title.
        text: column of a passage's text.
        query_id: column of a query's id.
        query: column of a query's text.
    """

    doc_id: str | None = None
    title: str | None = None
    text: str | None = None
    query_id: str | None = None
    query: str | None = None


USUAL = ColumnNames()


@dataclass(frozen=True)
class _Columns:
    """The names under which one part of a collection may hold ids, texts and titles."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    titles: tuple[str, ...]

    @classmethod
    def of(cls, part: str, names: ColumnNames, path: Path) -> _Columns:
        """Return a part's chosen or usual names; chosen ones in lower case if `path` is a table."""
        is_corpus = part == "corpus"
        chosen = (
            names.doc_id if is_corpus else names.query_id,
            names.text if is_corpus else names.query,
            names.title,
        )
        usual = (_IDS[part], _TEXTS[part], _TITLES)
        is_table = Path(uncompressed_name(path)).suffix in (_TABLE, separated.SUFFIX)
        return cls(
            *(
                default if name is None else (name.lower() if is_table else name,)
                for name, default in zip(chosen, usual, strict=True)
            )
        )

    def check(self, row: Row, part: str) -> None:
        """Check that the first row of a part has an id and a text.

        Raises:
            InputError: no column has one of the names; the message says how to name the columns.
        """
        keys = ("doc_id", "text") if part == "corpus" else ("query_id", "query")
        for key, names in zip(keys, (self.ids, self.texts), strict=True):
            if not set(names) & row.values.keys():
                seen = ", ".join(map(repr, row.values))
                what = "id" if key.endswith("_id") else "text"
                row.fail(
                    f"the key {names[0]!r} is missing; found {seen}. Name the one that holds the {what} with "
                    f"`columns: {{{key}: NAME}}` of the dataset"
                )


def find_part(folder: Path, part: str) -> Path:
    """Return the path of a folder's passages (`corpus`) or `queries`.

    Raises:
        InputError: there is none, or several in different forms.
    """
    paths = _parts(folder, part)
    if not paths:
        others = "" if part == "queries" else " (or docs, documents, passages, collection)"
        reason = (
            f"there is no {part}.jsonl, .csv, .tsv or .parquet{others} in this folder; it needs corpus "
            "and queries"
        )
        if (folder / part).is_dir():
            reason = "this folder has MTEB's layout; make candidates of it with rerankbench convert"
        raise InputError.at(folder, None, reason)
    if len(paths) > 1:
        names = " and ".join(path.name for path in paths.values())
        raise InputError.at(folder, None, f"{names} are both here; remove one of them")
    return next(iter(paths.values()))


def has_part(folder: Path, part: str) -> bool:
    """Return whether a folder has a file of its passages (`corpus`) or `queries`."""
    return bool(_parts(folder, part))


def _parts(folder: Path, part: str) -> dict[str, Path]:
    """Return the files in a folder that may be the part, by their name without a compression's suffix."""
    paths: dict[str, Path] = {}
    for stem in _STEMS[part]:
        for suffix in (*SUFFIXES, _TABLE, separated.SUFFIX):
            for compression in ("", *COMPRESSED):
                path = folder / f"{stem}{suffix}{compression}"
                if path.exists() and not path.is_dir():
                    paths.setdefault(f"{stem}{suffix}", path)
    return paths


def read_passages(path: Path, names: ColumnNames = USUAL) -> dict[str, str]:
    """Read a file of passages: text by passage id, each title and text joined by a space.

    Args:
        path: the file.
        names: names of its columns.

    Raises:
        InputError: a line is wrong, or an id appears twice.
    """
    columns = _Columns.of("corpus", names, path)
    passages: dict[str, str] = {}
    for row in _rows(path, "corpus", columns):
        doc_id = row.identifier(row.first_key(columns.ids))
        row.add(passages, "passage", doc_id, texts_of(row, columns.texts, columns.titles[0]))
    return _some(path, passages)


def read_fields(path: Path, name: str, names: ColumnNames = USUAL, part: str = "corpus") -> dict[str, str]:
    """Read one field, such as the title, of the passages or queries that have it, by id.

    Args:
        path: the file.
        name: name of the field.
        names: names of the other columns.
        part: `corpus` or `queries`.

    Raises:
        InputError: a line is wrong, or no row has text in the field.
    """
    columns = _Columns.of(part, names, path)
    fields: dict[str, str] = {}
    seen: dict[str, None] = {}
    for row in _rows(path, part, columns):
        seen |= dict.fromkeys(row.values)
        if row.values.get(name) is not None:
            fields[row.identifier(row.first_key(columns.ids))] = row.text(name)
    if not any(map(str.strip, fields.values())):
        what = "passage" if part == "corpus" else "query"
        reason = f"no {what} has a {name!r}; found {', '.join(seen)}. Name the field that holds it"
        raise InputError.at(path, None, reason)
    return fields


def read_queries(path: Path, names: ColumnNames = USUAL) -> dict[str, str]:
    """Read a file of queries: text by query id.

    Args:
        path: the file.
        names: names of its columns.

    Raises:
        InputError: a line is wrong, an id appears twice, or a text is empty.
    """
    columns = _Columns.of("queries", names, path)
    queries: dict[str, str] = {}
    for row in _rows(path, "queries", columns):
        query_id = row.identifier(row.first_key(columns.ids))
        row.add(queries, "query", query_id, query_text(row, row.first_key(columns.texts)))
    return _some(path, queries)


def _some(path: Path, texts: dict[str, str]) -> dict[str, str]:
    """Return the texts of a file unchanged.

    Raises:
        InputError: there are none.
    """
    if not texts:
        raise InputError.at(path, None, "names columns and holds nothing else; check how it was made")
    return texts


def _rows(path: Path, part: str, columns: _Columns) -> Iterator[Row]:
    """Yield the rows of a file of passages or queries, after checking the first for an id and a text."""
    suffix = Path(uncompressed_name(path)).suffix
    if suffix == separated.SUFFIX:
        rows = separated.separated_rows(path)
    elif suffix == _TABLE:
        rows = _table_rows(path, columns)
    else:
        rows = read_records(path)
    for place, row in enumerate(rows):
        if not place:
            columns.check(row, part)
        yield row


def _table_rows(path: Path, columns: _Columns) -> Iterator[Row]:
    """Yield the rows of a tab-separated table, by column names of the first line or else `_id` and `text`.

    Raises:
        InputError: a line has another number of columns.
    """
    names: list[str] = []
    for number, line in read_lines(path):
        fields = line.split("\t")
        if not names:
            names = ["_id", "text"]
            lowered = [field.lower() for field in fields]
            is_named = lowered[0] in columns.ids or (len(fields) > 2 and bool({*lowered} & {*columns.ids}))
            if is_named and len(fields) > 1:
                names = lowered
                continue
        if len(fields) != len(names):
            expected = f"{len(names)} columns ({', '.join(names)}), separated by tabs"
            advice = "name other columns in a first line, such as id, title, text"
            raise InputError.at(path, number, f"expected {expected}, found {len(fields)}; {advice}")
        yield Row(path, number, dict(zip(names, fields, strict=True)))
