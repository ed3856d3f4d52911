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
    ids = [ranking.query_id, *ranking.doc_ids]
    if " ".join(ids).split() != ids:
        wrong = next(identifier for identifier in ids if identifier.split() != [identifier])
        raise InputError(
            f"the id {wrong!r} is empty or has a space in it, which a TREC run cannot hold; rename it in the "
            "collection"
        )
    scored = enumerate(zip(ranking.doc_ids, ranking.scores, strict=True), 1)
    return "".join(
        f"{ranking.query_id} Q0 {doc_id} {rank} {score:.9g} {tag}\n" for rank, (doc_id, score) in scored
    ).encode()
