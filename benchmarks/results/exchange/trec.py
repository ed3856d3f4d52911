"""Formats rankings and judgements as lines of TREC files."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerankers.interface import Ranking


def trec_lines(ranking: Ranking, tag: str) -> bytes:
    """Format a ranking as lines `query Q0 document rank score tag`, scores to nine significant digits.

    Raises:
        InputError: an id is empty or has a space in it.
    """
    _check_ids([ranking.query_id, *ranking.doc_ids])
    count = len(ranking.doc_ids)
    by_rank, tails = _tails_by_rank(count)
    if ranking.scores != by_rank:
        tails = _tails(ranking.scores)
    parts = [f"{ranking.query_id} Q0 "] * (4 * count)  # joining takes half the time of formatting
    parts[1::4], parts[2::4], parts[3::4] = ranking.doc_ids, tails, [f" {tag}\n"] * count
    return "".join(parts).encode()


def _tails(scores: Sequence[float]) -> list[str]:
    """Return rank and score of each line, with the spaces before them."""
    return (_form(len(scores)) % tuple(scores)).split("\0")[:-1]


@lru_cache(maxsize=8)
def _form(count: int) -> str:
    """Return the format of the tails of so many scores: ranks filled in, a zero byte behind each."""
    return "".join(map(" {} %.9g\0".format, range(1, count + 1)))


@lru_cache(maxsize=8)
def _tails_by_rank(count: int) -> tuple[tuple[float, ...], list[str]]:
    """Return the scores of a ranking without scores, n for rank 1 and 1 for rank n, and their tails."""
    scores = tuple(map(float, range(count, 0, -1)))
    return scores, _tails(scores)


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
    if joined.isascii() and joined.isprintable() and joined.count(" ") == len(ids) - 1 and all(ids):
        return  # the usual case, in a third of the time: the only white space in it is " "
    if joined.split() != ids or "\0" in joined:
        wrong = next(
            identifier for identifier in ids if identifier.split() != [identifier] or "\0" in identifier
        )
        raise InputError(
            f"the id {wrong!r} is empty or has a space or a zero byte in it, which a TREC file cannot hold; "
            "rename it in the collection"
        )
