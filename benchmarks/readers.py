"""Strict readers of the field's tables: qrels and TREC runs; plain or compressed.

Every reader stops at the first wrong line and says which one it is, what is wrong, and what to do. Nothing is
skipped but blank lines, for what a reader skips silently becomes a wrong number in a paper.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from benchmarks.ties import LARGEST_SCORE, trec_eval_order
from rerankers.errors import InputError
from rerankers.json_lines import read_lines

if TYPE_CHECKING:
    from pathlib import Path

    from rerankers.input_files import Digest

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Grade by doc id by query id, from a TREC qrels file or a BEIR one.

    TREC lines have four columns (`query_id 0 doc_id grade`); BEIR lines have three, under a header line
    `query-id corpus-id score`. The first line decides.

    Raises:
        InputError: as `read_lines`; or a wrong number of columns, a grade that is no whole number, or a
            passage judged twice for one query.
    """
    qrels: dict[str, dict[str, int]] = {}
    columns = 0
    for number, line in read_lines(path):
        fields = line.split()
        if columns == 0:
            columns = 3 if len(fields) == 3 else 4
            if columns == 3 and fields[0].lower() in {"query-id", "query_id", "qid"}:
                continue
        if len(fields) != columns:
            expected = "query-id, corpus-id, score" if columns == 3 else "query_id, 0, doc_id, grade"
            reason = f"expected {columns} columns ({expected}), found {len(fields)}; correct the line"
            raise InputError.at(path, number, reason)
        query_id, doc_id, grade = fields[0], fields[-2], fields[-1]
        if not _WHOLE_NUMBER.fullmatch(grade):
            raise InputError.at(
                path, number, f"the grade {grade!r} is not a whole number; write 0, 1, 2, ..."
            )
        if doc_id in qrels.setdefault(query_id, {}):
            reason = f"query {query_id!r} judges {doc_id!r} a second time; keep one of the lines"
            raise InputError.at(path, number, reason)
        qrels[query_id][doc_id] = int(grade)
    if not qrels:
        raise InputError.at(path, None, "the file holds a header but no judgement; check how it was made")
    return qrels


def read_run(path: Path, digest: Digest | None = None) -> dict[str, list[tuple[str, float]]]:
    """Doc ids and scores by query id, best first, from a TREC run: `query_id Q0 doc_id rank score tag`.

    Sorted as trec_eval sorts (`benchmarks.ties`): by score, highest first; equal scores by document id,
    descending, whatever the rank column says. Comments (`# `) may stand before the first line.

    Raises:
        InputError: as `read_lines`; or a wrong number of columns, a rank or score that is no number, or a
            passage listed twice for one query.
    """
    found: dict[str, dict[str, float]] = {}
    for number, line in read_lines(path, digest):
        if not found and line.startswith("# "):
            continue  # such as the header that ir_metadata puts there
        fields = line.split()
        if len(fields) != 6:
            reason = f"expected 6 columns (query_id Q0 doc_id rank score tag), found {len(fields)}"
            raise InputError.at(path, number, f"{reason}; correct the line")
        query_id, _, doc_id, rank, score, _ = fields
        if not _WHOLE_NUMBER.fullmatch(rank):
            raise InputError.at(path, number, f"the rank {rank!r} is not a whole number; write 1, 2, 3, ...")
        if not _NUMBER.fullmatch(score) or not math.isfinite(float(score)):
            raise InputError.at(path, number, f"the score {score!r} is not a finite number; correct it")
        if abs(float(score)) > LARGEST_SCORE:
            reason = f"the score {score!r} does not fit into trec_eval's 32 bits; scale the scores down"
            raise InputError.at(path, number, reason)
        if doc_id in found.setdefault(query_id, {}):
            reason = f"query {query_id!r} lists {doc_id!r} a second time; keep the better rank"
            raise InputError.at(path, number, reason)
        found[query_id][doc_id] = float(score)
    return {query_id: trec_eval_order(hits.items()) for query_id, hits in found.items()}
