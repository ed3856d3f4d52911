"""Strict readers of judgements (qrels) and TREC runs, from plain or compressed files.

Every reader stops at the first wrong line and says which one it is, what is wrong, and what to do. Nothing is
skipped but blank lines and comments, for what a reader skips silently becomes a wrong number in a paper.
"""

from __future__ import annotations

import math
import re
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.datasets.formats import msmarco, ranx
from benchmarks.evaluation.ties import LARGEST_SCORE, trec_eval_order
from rerankers.errors import InputError
from rerankers.files.input_files import uncompressed_name
from rerankers.files.json_lines import Row, json_object, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rerankers.files.input_files import Digest

_GRADE = re.compile(r"[+-]?[0-9]{1,9}(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_QUERY = ("query-id", "query_id", "qid", "query", "topic", "topic_id", "topic-id")
_PASSAGE = ("corpus-id", "corpus_id", "doc_id", "doc-id", "docid", "docno", "pid", "passage_id", "passage-id")
_RUN_SUFFIXES = (".trec", ".txt", ".tsv", ".json", ".run", ".res")
_RELEVANCE = ("score", "relevance", "grade", "label", "rel")


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Read a file of judgements: grade by doc id by query id.

    Lines have four columns (`query_id 0 doc_id grade`, as trec_eval reads them) or three (`query_id doc_id
    grade`, as BEIR writes them), with or without a line of column names; the first line decides. Lines that
    begin with `#` are comments. JSON lines hold the same three values by name, one JSON object of query ids
    holds objects of grades by doc id (`benchmarks.datasets.formats.ranx`).

    Raises:
        InputError: as `read_lines`; or a wrong number of columns, a grade that is not a whole number, or a
            passage judged twice for one query.
    """
    qrels: dict[str, dict[str, int]] = {}
    values: dict[str, int] = {}  # of the few ways in which grades are written
    for number, query_id, doc_id, grade in _judgements(path):
        if grade not in values:
            if not _GRADE.fullmatch(grade):
                reason = f"the grade {grade!r} is not a whole number; write 0, 1, 2, ..."
                raise InputError.at(path, number, reason)
            values[grade] = int(float(grade))
        grades = qrels.setdefault(query_id, {})
        if doc_id in grades:
            reason = f"query {query_id!r} judges {doc_id!r} a second time; keep one of the lines"
            raise InputError.at(path, number, reason)
        grades[doc_id] = values[grade]
    if not qrels:
        raise InputError.at(path, None, "the file holds no judgement; check how it was made")
    return qrels


def _judgements(path: Path) -> Iterator[tuple[int | None, str, str, str]]:
    """Yield (line number, query id, doc id, grade as written) of each judgement, in any known format."""
    lines = read_lines(path)
    first = next(lines)
    if ranx.is_start(first[1]):
        yield from ranx.values(path, chain([first], lines))
        return
    columns, is_json = 0, False
    for number, line in chain([first], lines):
        fields = line.split()
        if fields[0][0] == "#":
            continue
        if not columns:
            is_json = fields[0].startswith("{")
            columns = 3 if len(fields) == 3 else 4
            is_header = fields[0].lower() in _QUERY and not _NUMBER.fullmatch(fields[-1])
            if is_header and len(fields) == columns:
                continue
        if is_json:
            yield _json_judgement(path, number, line)
            continue
        if len(fields) != columns:
            expected = "query-id, corpus-id, score" if columns == 3 else "query_id, 0, doc_id, grade"
            reason = f"expected {columns} columns ({expected}), found {len(fields)}; correct the line"
            raise InputError.at(path, number, reason)
        yield number, fields[0], fields[-2], fields[-1]


def _json_judgement(path: Path, number: int, line: str) -> tuple[int, str, str, str]:
    """Parse one JSON line of a file of judgements into (line number, query id, doc id, grade as written)."""
    row = Row(path, number, json_object(path, number, line))
    query_id, doc_id = row.identifier(row.first_key(_QUERY)), row.identifier(row.first_key(_PASSAGE))
    return number, query_id, doc_id, str(row.get(row.first_key(_RELEVANCE)))


def run_name(path: Path) -> str:
    """Return the name of a run: its file's name without the suffixes of runs and of compression."""
    name = Path(uncompressed_name(path))
    return name.stem if name.suffix in _RUN_SUFFIXES else name.name


def read_run(path: Path, digest: Digest | None = None) -> dict[str, list[tuple[str, float]]]:
    """Read a run from a file: (doc id, score), best first, by query id.

    Lines are TREC's, `query_id Q0 doc_id rank score tag`, or MS MARCO's
    (`benchmarks.datasets.formats.msmarco`). The file may also be one JSON object
    (`benchmarks.datasets.formats.ranx`). The first line decides.

    Sorted as trec_eval sorts (`benchmarks.evaluation.ties`): by score, highest first; equal scores by
    document id, descending, whatever the rank column says. Lines that begin with `#` are comments.

    Args:
        path: the run.
        digest: a hash that is updated with the file's bytes.

    Raises:
        InputError: as `read_lines`; or a wrong number of columns, a score that is not a number, a passage
            listed twice for one query, or nothing but comments.
    """
    scores: dict[str, dict[str, float]] = {}
    for number, query_id, doc_id, score in _scores(path, digest):
        if not _NUMBER.fullmatch(score) or not math.isfinite(float(score)):
            raise InputError.at(path, number, f"the score {score!r} is not a finite number; correct it")
        if abs(float(score)) > LARGEST_SCORE:
            reason = f"the score {score!r} does not fit into trec_eval's 32 bits; scale the scores down"
            raise InputError.at(path, number, reason)
        if doc_id in scores.setdefault(query_id, {}):
            reason = f"query {query_id!r} lists {doc_id!r} a second time; keep the better rank"
            raise InputError.at(path, number, reason)
        scores[query_id][doc_id] = float(score)
    if not scores:
        raise InputError.at(path, None, "the file holds nothing but comments; check how it was made")
    return {query_id: trec_eval_order(hits.items()) for query_id, hits in scores.items()}


def _scores(path: Path, digest: Digest | None) -> Iterator[tuple[int | None, str, str, str]]:
    """Yield (line number, query id, doc id, score as written) of each line of a run, in any known format."""
    lines = read_lines(path, digest)
    first = next(lines)
    whole = chain([first], lines)
    if ranx.is_start(first[1]):
        yield from ranx.values(path, whole)
    elif msmarco.is_start(first[1]):
        yield from msmarco.scores(path, whole)
    else:
        yield from _trec_scores(path, whole)


def _trec_scores(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str, str, str]]:
    """Parse TREC run lines into (line number, query id, doc id, score as written); comments are skipped.

    Raises:
        InputError: a line does not have six columns.
    """
    for number, line in lines:
        if line.lstrip().startswith("#"):
            continue  # such as the header that ir_metadata puts there
        fields = line.split()
        if len(fields) != 6:
            reason = f"expected 6 columns (query_id Q0 doc_id rank score tag), found {len(fields)}"
            raise InputError.at(path, number, f"{reason}; correct the line")
        yield number, fields[0], fields[2], fields[4]
