"""A reader of candidates as pairs of a query and a passage, one an object: TIREx, PyTerrier, Lightning IR.

    {"qid": "q1", "query": "...", "docno": "d1", "text": "...", "rank": 1, "score": 18.9}

Pairs of a query need not stand together. Their order is that of `rank` where they have one, else that of
`score` (ties as in trec_eval), else that of the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks.datasets.formats import field_names
from benchmarks.datasets.formats.records import query_text, texts_of
from benchmarks.evaluation.ties import trec_eval_places
from rerankers.errors import InputError
from rerankers.files.json_lines import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from benchmarks.datasets.formats.candidate_rows import Collector

_COLUMNS = ("qid", "pid", "query", "text")
"""Columns of MS MARCO's `top1000`."""

_TREC_COLUMNS = 6
_NUMBERS = ("rank", "score")
_QUERY = ("query", "query_text")


class _Pair(NamedTuple):
    """A pair's row, passage id and passage text."""

    row: Row
    doc_id: str
    content: str


def is_pair(row: Row) -> bool:
    """Return whether an object is a pair of query and passage, rather than a query with its hits."""
    return not {"hits", "candidates"} & row.values.keys() and bool(
        set(field_names.DOC_ID) - {"id"} & row.values.keys()
    )


def is_table(line: str) -> bool:
    """Return whether the first line of a file begins a tab-separated table or a run, rather than JSON."""
    return not line.lstrip().startswith(("{", "[")) and ("\t" in line or len(line.split()) == _TREC_COLUMNS)


def table_rows(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[Row]:
    """Yield the rows of a tab-separated table of pairs, with rank and score as numbers.

    Its columns are query id, passage id, query and passage, or those that its first line names.

    Raises:
        InputError: the table has no texts, or a line has another number of columns.
    """
    names: list[str] = []
    for number, line in lines:
        fields = line.split("\t")
        if not names:
            if _is_header(fields):
                names = [field.lower() for field in fields]
                continue
            if len(line.split()) == _TREC_COLUMNS and len(fields) != len(_COLUMNS):
                reason = "this is a TREC run, which has no texts; name it as the first stage of a collection"
                raise InputError.at(path, number, reason)
            names = list(_COLUMNS)
        if len(fields) != len(names):
            expected = f"{len(names)} columns ({', '.join(names)}), separated by tabs"
            raise InputError.at(path, number, f"expected {expected}, found {len(fields)}; correct the line")
        values: dict[str, object] = dict(zip(names, fields, strict=True))
        yield Row(path, number, values | {key: _number(values[key]) for key in _NUMBERS if key in values})


def _is_header(fields: list[str]) -> bool:
    """Return whether the fields of a first line name a query id, a passage id and a query."""
    names = {field.lower() for field in fields}
    return all(names & set(keys) for keys in (field_names.QUERY_ID, field_names.DOC_ID, _QUERY))


def _number(value: object) -> object:
    """Return a field as a number, or unchanged if it is not one, to be rejected later."""
    try:
        return float(str(value))
    except ValueError:
        return value


def collect(rows: Iterable[Row], collected: Collector) -> None:
    """Add all queries and their pairs, best first, to a candidates file.

    Args:
        rows: the pairs.
        collected: the candidates file.

    Raises:
        InputError: a key is missing or of the wrong kind, a query has two texts or one passage twice, or
            only some pairs of a query have a rank or a score.
    """
    queries: dict[str, tuple[Row, str]] = {}
    pairs: dict[str, list[_Pair]] = {}
    for row in rows:
        query_id = row.identifier(row.first_key(field_names.QUERY_ID))
        text = query_text(row, row.first_key(_QUERY))
        if queries.setdefault(query_id, (row, text))[1] != text:
            row.fail(f"query {query_id!r} had another text before; give the two different ids")
        doc_id = row.identifier(row.first_key(field_names.DOC_ID))
        pair = _Pair(row, doc_id, texts_of(row, field_names.CONTENT))
        pairs.setdefault(query_id, []).append(pair)
    for query_id, (row, text) in queries.items():
        collected.add_query(row, query_id, text)
        for pair, score in _ordered(pairs[query_id]):
            collected.add_hit(pair.row, query_id, pair.doc_id, score, pair.content)


def _ordered(pairs: list[_Pair]) -> list[tuple[_Pair, float]]:
    """Return a query's pairs with their scores, best first; without scores, those count down to 1.

    Raises:
        InputError: a rank appears twice, or only some pairs have a rank or a score.
    """
    scores = _numbers(pairs, "score")
    ranks = _numbers(pairs, "rank")
    if ranks is not None:
        by_rank: dict[float, int] = {}
        for place, rank in enumerate(ranks):
            if by_rank.setdefault(rank, place) != place:
                pairs[place].row.fail(f"rank {rank:g} appears a second time for the query; correct it")
        order = [by_rank[rank] for rank in sorted(by_rank)]
    elif scores is not None:
        order = trec_eval_places([pair.doc_id for pair in pairs], scores)
    else:
        order = list(range(len(pairs)))
    if scores is None:
        scores = [0.0] * len(pairs)
        for rank, place in enumerate(order):
            scores[place] = float(len(pairs) - rank)
    return [(pairs[place], scores[place]) for place in order]


def _numbers(pairs: list[_Pair], key: str) -> list[float] | None:
    """Return the number under `key` of each pair; None where no pair has the key.

    Raises:
        InputError: only some pairs have it, or it is not a number.
    """
    having = [pair.row.values.get(key) is not None for pair in pairs]
    if not any(having):
        return None
    if not all(having):
        pairs[having.index(False)].row.fail(
            f"{key!r} is missing, and other pairs of its query have it; add it"
        )
    return [pair.row.number(key) for pair in pairs]
