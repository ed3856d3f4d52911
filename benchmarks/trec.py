"""Rankings as lines of a TREC run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.errors import InputError

if TYPE_CHECKING:
    from rerankers.interface import Ranking


def trec_lines(ranking: Ranking, tag: str) -> bytes:
    """`query Q0 document rank score tag`, a line each; nine digits tell any two 32-bit scores apart.

    Raises:
        InputError: an id is empty or has a space in it.
    """
    lines = []
    for rank, (doc_id, score) in enumerate(zip(ranking.doc_ids, ranking.scores, strict=True), 1):
        line = f"{ranking.query_id} Q0 {doc_id} {rank} {score:.9g} {tag}\n"
        if len(line.split()) != 6:
            raise InputError(
                f"query id {ranking.query_id!r} or document id {doc_id!r} is empty or has a space in it, "
                "which a TREC run cannot hold; rename it in the collection"
            )
        lines.append(line)
    return "".join(lines).encode()
