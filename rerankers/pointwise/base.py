"""The base of pointwise rerankers: each passage is scored alone with its query, all pairs in few batches.

A method says how pairs become model input (`tokenize`, stage `prompt`) and how inputs become scores (`score`,
stage `forward`); sorting is stage `order`. All pairs of all requests go through one `score` call, so a
throughput run fills its batches across queries. Passages that a model reads as the same tokens get one
score, because two batches may round them differently and they must stay in first-stage order; MS MARCO has
some whose texts differ in signs that tokenizers drop.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from rerankers.interface import Cost, Ranking, Reranker, RerankRequest

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from rerankers.stages import StageClock
    from rerankers.text.control_tokens import ControlTokens


class Pair(NamedTuple):
    """A query and a passage text, with the instruction that came with the query; None without one."""

    query: str
    passage: str
    instruction: str | None = None


InputT = TypeVar("InputT")


@dataclass(frozen=True, slots=True)
class Tokenized(Generic[InputT]):
    """The model input for a list of pairs.

    Attributes:
        inputs: the input of `score`, of the method's own type.
        lengths: tokens of each pair as the model reads it; 0 where its tokenizer finds none.
        truncated: whether the passage of each pair was cut.
        read: a key of each pair's tokens; pairs that the model reads alike have equal keys.
    """

    inputs: InputT
    lengths: Sequence[int]
    truncated: Sequence[bool]
    read: Sequence[Hashable]


class PointwiseReranker(Reranker, Generic[InputT]):
    """The base class of rerankers that score each (query, passage) pair on its own."""

    scores_passages_alone = True

    control: ControlTokens | None = None
    """The tokenizer's reading of control tokens in data; None where there is no tokenizer."""

    @abstractmethod
    def tokenize(self, pairs: Sequence[Pair]) -> Tokenized[InputT]:
        """Return the model input for pairs, of which there is at least one."""

    @abstractmethod
    def score(self, tokenized: Tokenized[InputT]) -> list[float]:
        """Return one score for each pair, higher is better.

        The score of a pair without tokens is not used.
        """

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Return a ranking of each request by the scores of its pairs, highest first.

        Equal scores keep the first-stage order, and pairs without tokens come last.
        """
        costs = [Cost() for _ in requests]
        busy = [cost for cost, request in zip(costs, requests, strict=True) if request.candidates]
        scores: dict[Pair, float] = {}
        if busy:
            with clock.stage("prompt", *busy):
                pairs = list(dict.fromkeys(pair for request in requests for pair in _pairs_of(request)))
                readable, control_tokens = self._as_read(pairs)
                tokenized = self.tokenize(readable)
            with clock.stage("forward", *busy):
                scored = zip(tokenized.read, self.score(tokenized), strict=True)
                first: dict[Hashable, float] = {}
                values = [first.setdefault(read, score) for read, score in scored]
                scores = dict(zip(pairs, values, strict=True))
            per_pair = zip(tokenized.lengths, tokenized.truncated, control_tokens, strict=True)
            counts = dict(zip(pairs, per_pair, strict=True))
        rankings = []
        for request, cost in zip(requests, costs, strict=True):
            with clock.stage("order", cost):
                request_pairs = _pairs_of(request)
                for pair in dict.fromkeys(request_pairs):
                    cost.usage.prompt_tokens += counts[pair][0]
                    cost.usage.control_tokens += counts[pair][2]
                cost.usage.passages_truncated = sum(counts[pair][1] for pair in request_pairs)
                last = min((scores[pair] for pair in request_pairs if counts[pair][0]), default=0.0) - 1.0
                values = [scores[pair] if counts[pair][0] else last for pair in request_pairs]
                rankings.append(Ranking.by_score(request, values, cost))
        return rankings

    def _as_read(self, pairs: Sequence[Pair]) -> tuple[list[Pair], list[int]]:
        """Return pairs with control tokens in their texts treated as the options say, and the number in
        each pair.
        """
        if self.control is None:
            return list(pairs), [0] * len(pairs)
        queries, in_queries = self.control.read([pair.query for pair in pairs])
        passages, in_passages = self.control.read([pair.passage for pair in pairs])
        counts = [sum(both) for both in zip(in_queries, in_passages, strict=True)]
        texts = zip(pairs, queries, passages, strict=True)
        return [Pair(query, passage, pair.instruction) for pair, query, passage in texts], counts


def _pairs_of(request: RerankRequest) -> list[Pair]:
    """Return a pair of the query and each candidate of a request, in its order."""
    return [Pair(request.query, candidate.text, request.instruction) for candidate in request.candidates]
