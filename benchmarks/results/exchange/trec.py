"""Formats rankings and judgements as lines of TREC files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerankers.interface import Ranking


def trec_lines(ranking: Ranking, tag: str) -> bytes:
    """Format a ranking as lines `query Q0 document rank score tag`, scores to nine significant digits.

    Raises:
        InputError: an id is empty or has a space in it.
    """
    _check_ids([ranking.query_id, *ranking.doc_ids])
    count = len(ranking.doc_ids)
    values: list[object] = [None] * (3 * count)
    values[0::3], values[1::3], values[2::3] = ranking.doc_ids, range(1, count + 1), ranking.scores
    query_id, tag = ranking.query_id.replace("%", "%%"), tag.replace("%", "%%")
    lines = f"{query_id} Q0 %s %d %.9g {tag}\n" * count  # one format for all takes half the time
    return (lines % tuple(values)).encode()


def qrels_lines(query_id: str, grades: Mapping[str, int]) -> bytes:
    """Format one query's grades as lines `query 0 document grade`.

    Raises:
        InputError: an id is empty or has a space in it.
    """
    _check_ids([query_id, *grades])
    return "".join(f"{query_id} 0 {doc_id} {grade}\n" for doc_id, grade in grades.items()).encode()


def _check_ids(ids: list[str]) -> None:
    """Raise InputError for the first id that is empty or has a space or a zero byte in it."""
    joined = " ".join(ids)
    if joined.split() != ids or "\0" in joined:
        wrong = next(
            identifier for identifier in ids if identifier.split() != [identifier] or "\0" in identifier
        )
        raise InputError(
            f"the id {wrong!r} is empty or has a space or a zero byte in it, which a TREC file cannot hold; "
            "rename it in the collection"
        )
