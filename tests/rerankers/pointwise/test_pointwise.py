"""What all pointwise rerankers share, on one that reads words and rounds each batch in its own way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.pointwise.base import Pair, PointwiseReranker, Tokenized

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerankers import RerankRequest, StageClock


class Lengths(PointwiseReranker[list[list[str]]]):
    """Scores a passage by its number of words, a little higher with every passage before it."""

    def tokenize(self, pairs: Sequence[Pair]) -> Tokenized[list[list[str]]]:
        words = [pair.passage.split() for pair in pairs]
        read = [(pair.query, tuple(row)) for pair, row in zip(pairs, words, strict=True)]
        return Tokenized(words, [len(row) for row in words], [False] * len(words), read)

    def score(self, tokenized: Tokenized[list[list[str]]]) -> list[float]:
        return [len(row) + i * 1e-6 for i, row in enumerate(tokenized.inputs)]

    def describe(self) -> dict[str, object]:
        return {}


def test_passages_that_are_the_same_tokens_stay_in_first_stage_order(
    make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    texts = ["a passage", "one that is longer", "a  passage", "a passage"]
    requests = [make_request("query", texts, "q1"), make_request("another query", texts, "q2")]
    for ranking in Lengths().rerank(requests, clock):
        assert ranking.doc_ids == ("d1", "d0", "d2", "d3")
