"""The interface of every reranker: candidates, requests, rankings, and their cost.

Field names are those of `ir_measures`, so a list of rankings is a run. A ranking is always a permutation of
its request's candidates: `Ranking.of` is the one way to make it, and it refuses anything else.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypedDict, get_args

import numpy as np

from rerankers.errors import InputError, ModelError
from rerankers.ranked import RankedPassages
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.encoders.store import EmbeddingStore
    from rerankers.endpoints.prices import Budget
    from rerankers.options import MethodOptions
    from rerankers.stages import Stage

Fault = Literal["malformed", "missing", "duplicate", "out_of_range", "refused", "cut_off"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
TIE_DEPTH = 10  # ranks in which ties are counted: those that nDCG@10 reads


class Candidate(NamedTuple):
    """A passage that the first stage proposed for a query, with the first stage's score."""

    query_id: str
    doc_id: str
    text: str
    score: float


_doc_id = attrgetter("doc_id")  # in comprehensions over thousands of requests it is the faster way


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """A query and its candidates in first-stage order, best first; doc ids are unique.

    Attributes:
        query_id: the query's id.
        query: the query's text.
        candidates: the passages to rank.
        instruction: the criterion by which passages are judged, for rerankers that take one; None for the
            reranker's own.
        doc_ids: the ids of the candidates, as a set.

    Raises:
        InputError: a doc id occurs twice.
    """

    query_id: str
    query: str
    candidates: tuple[Candidate, ...]
    instruction: str | None = None
    doc_ids: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "doc_ids", frozenset(map(_doc_id, self.candidates)))
        if len(self.doc_ids) < len(self.candidates):
            [(twice, _)] = Counter(map(_doc_id, self.candidates)).most_common(1)
            raise InputError(f"query {self.query_id!r} lists {twice!r} twice; keep one of them")

    @classmethod
    def of(cls, query: str, passages: Mapping[str, str], query_id: str = "q") -> RerankRequest:
        """Return a request to rank the passages of a query; their scores descend by one to 1.

        Args:
            query: the query's text.
            passages: texts by doc id, best first.
            query_id: the query's id.
        """
        count = len(passages)
        candidates = (
            Candidate(query_id, doc_id, text, float(count - rank))
            for rank, (doc_id, text) in enumerate(passages.items())
        )
        return cls(query_id, query, tuple(candidates))


class PartCost(TypedDict):
    """The cost of one component of a fusion or a cascade; the stages and counts of the whole include it."""

    reranker: str
    stage_seconds: dict[Stage, float]
    usage: dict[str, Any]  # the non-zero counts; a part made of parts has `parts` of its own


@dataclass(slots=True)
class Usage:
    """Counts of the work behind a ranking, and of the output faults that had to be repaired.

    Attributes:
        windows: windows ranked.
        llm_calls: calls of a language model or an endpoint.
        sequential_calls: calls that had to wait for the ones before; calls side by side count as one.
        prompt_tokens: tokens of prompts, those from a cache included.
        cached_tokens: prompt tokens that came from a cache.
        generated_tokens: tokens that the model wrote.
        reasoning_tokens: the part of the generated tokens that precedes the answer.
        tokens_saved: an estimate of the tokens saved by stopping outputs as soon as the ranking was complete.
        dollars: at list price, whether paid now or when a cached response was first received.
        calls_replayed: calls answered from the response cache.
        calls_estimated: calls whose tokens are an estimate, for want of a usable count.
        retries: further attempts after calls that failed.
        well_formed: outputs in exactly the form asked for; the others are in `faults`.
        decode_steps: forward passes that must follow one another, prefill not counted.
        captured_passes: forward passes that were replayed as captured at warm-up.
        uncaptured_passes: those that were not, though passes are captured.
        passages_embedded: passages that an encoder embedded.
        passages_from_store: passages whose embeddings came from a store.
        passages_truncated: passages that were cut.
        ties: of the first ten ranks, those whose score the next rank has too: the first stage decided.
        control_tokens: control tokens of a local model's tokenizer in the queries and passages that it read.
        depths: ranks decoded in each window, in the order they ran.
        faults: output faults, by kind.
        parts: costs of each component of a fusion or a cascade, in its order.
    """

    windows: int = 0
    llm_calls: int = 0
    sequential_calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    reasoning_tokens: int = 0
    tokens_saved: int = 0
    dollars: float = 0.0
    calls_replayed: int = 0
    calls_estimated: int = 0
    retries: int = 0
    well_formed: int = 0
    decode_steps: int = 0
    captured_passes: int = 0
    uncaptured_passes: int = 0
    passages_embedded: int = 0
    passages_from_store: int = 0
    passages_truncated: int = 0
    ties: int = 0
    control_tokens: int = 0
    depths: list[int] = field(default_factory=list)
    faults: dict[Fault, int] = field(default_factory=dict)
    parts: list[PartCost] = field(default_factory=list)

    def nonzero(self) -> dict[str, Any]:
        """Return the counts that are not zero, by name, as a result row keeps them."""
        return {name: count for name, count in zip(_USAGE, _counts(self), strict=True) if count}

    def fault(self, kind: Fault, count: int = 1) -> None:
        """Add `count` output faults of one kind to `faults`."""
        if count:
            self.faults[kind] = self.faults.get(kind, 0) + count


_USAGE = tuple(Usage.__dataclass_fields__)
_counts = attrgetter(*_USAGE)


@dataclass(slots=True)
class Cost:
    """The cost of one request so far: seconds by stage, and usage. A reranker fills it as it works."""

    stage_seconds: dict[Stage, float] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class Ranking:
    """A permutation of one request's candidates, best first, with scores that strictly decrease."""

    query_id: str
    doc_ids: tuple[str, ...]
    scores: tuple[float, ...]
    stage_seconds: Mapping[Stage, float]
    usage: Usage

    @classmethod
    def of(
        cls, request: RerankRequest, order: Sequence[int], cost: Cost, scores: Sequence[float] | None = None
    ) -> Ranking:
        """Return a ranking of a request's candidates.

        With `scores`, `cost.usage.ties` is set: how many of the first ten ranks tie with the next one.

        Args:
            request: the request that was ranked.
            order: candidate positions (0-based), best first; a permutation of `range(n)`.
            cost: the cost of the request.
            scores: the model's scores by candidate position; without them rank n scores 1, rank 1 scores n.
                Ties are broken downwards by the smallest float32 step, because evaluation tools read
                32-bit scores and break ties each in their own way.

        Raises:
            ModelError: `order` is not a permutation, or a score is not finite or too large for 32 bits.
        """
        n = len(request.candidates)
        if sorted(order) != list(range(n)):
            raise ModelError(
                f"query {request.query_id!r}: the order {list(order)} is not a permutation of {n}"
            )
        values = [float(n - rank) for rank in range(n)] if scores is None else [scores[i] for i in order]
        if scores is not None:
            cost.usage.ties = count_ties(values)
        return cls(
            query_id=request.query_id,
            doc_ids=tuple(request.candidates[i].doc_id for i in order),
            scores=strictly_decreasing(values),
            stage_seconds=cost.stage_seconds,
            usage=cost.usage,
        )

    @classmethod
    def by_score(cls, request: RerankRequest, scores: Sequence[float], cost: Cost) -> Ranking:
        """Return a ranking of a request's candidates by score, highest first.

        Equal scores keep the first-stage order.

        Args:
            request: the request that was ranked.
            scores: one for each candidate, in the order of the request.
            cost: the cost of the request.

        Raises:
            ModelError: a score is not finite.
        """
        order = sorted(range(len(scores)), key=lambda i: -scores[i])
        return cls.of(request, order, cost, scores)


def count_ties(scores: Sequence[float]) -> int:
    """Return how many of the first ten ranks have the same score as the next rank, compared in 32 bits.

    Args:
        scores: best first. Passages that a model reads alike tie as well.
    """
    head = np.asarray(scores[: TIE_DEPTH + 1], dtype=np.float32)
    return int((head[:-1] == head[1:]).sum())


def strictly_decreasing(scores: Sequence[float]) -> tuple[float, ...]:
    """Return the scores as 32-bit values, each lowered where needed to stay below the one before it.

    A score is lowered by the smallest float32 step.

    Args:
        scores: best first.

    Raises:
        ModelError: a score is not finite, or too large for 32 bits.
    """
    with np.errstate(over="ignore"):
        array = np.asarray(scores, dtype=np.float32)
        if np.isfinite(array).all() and (np.diff(array) < 0).all():
            return tuple(array.tolist())  # the usual case, without a loop
        result: list[float] = []
        ceiling = np.float32(np.inf)
        for score, small in zip(scores, array, strict=True):
            if not math.isfinite(score):
                raise ModelError(f"the model scored a passage {score}; try float32, or check its weights")
            ceiling = min(small, np.nextafter(ceiling, np.float32(-np.inf)))
            if not np.isfinite(small) or not np.isfinite(ceiling):
                raise ModelError(
                    f"the score {score} of a passage does not fit into 32 bits; scale the scores down"
                )
            result.append(float(ceiling))
    return tuple(result)


class Reranker(ABC):
    """The base class of rerankers, which reorder the candidates of requests.

    A reranker is constructed from its options; see `rerankers.registry` for names.
    """

    options_model: ClassVar[type[MethodOptions] | None] = None
    """The options of a class of one's own, which is constructed from an instance; None for no options."""

    scores_passages_alone: ClassVar[bool] = False
    """True if a passage's score depends on the query and the passage alone, not on the other candidates."""

    device: str = "cpu"
    """The torch device whose queue the clock has to wait for."""

    def __init__(self, options: MethodOptions | None = None) -> None:  # noqa: B027 - some have no options
        """Accept the options; the base class keeps none of them."""

    @abstractmethod
    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Return one ranking for each request, in the order of the requests.

        Requests with no candidates or a single one work. All time spent is charged to stages.

        Args:
            requests: queries with their candidates.
            clock: times the stages.

        Raises:
            ModelError: the model gave an output that no ranking can be made of.
            BackendError: a remote endpoint failed for good.
        """

    def rank(self, query: str, passages: Sequence[str] | Mapping[str, str]) -> RankedPassages[Ranking]:
        """Return the passages of one query, ranked best first; only stages are timed.

        Args:
            query: the query's text.
            passages: texts, or texts by doc id, in the order of a first stage if there is one: ties keep it.
                Texts alone are numbered from 1.

        Raises:
            ModelError, BackendError: as `rerank`.
        """
        if not isinstance(passages, Mapping):
            passages = {str(number): text for number, text in enumerate(passages, 1)}
        [ranking] = self.rerank([RerankRequest.of(query, passages)], StageClock())
        return RankedPassages(ranking, passages)

    def connection(self) -> Reranker:
        """Return a reranker that one more client may use at the same time as this one.

        A reranker that calls an endpoint returns one with a connection of its own, which shares the models in
        this process. Any other returns itself.
        """
        return self

    def prepare(self, requests: Sequence[RerankRequest]) -> None:  # noqa: B027 - most have nothing to prepare
        """Do the work that the method does before queries are timed, such as filling an embedding store.

        Args:
            requests: the requests that will be ranked.
        """

    def end_warm_up(self) -> None:  # noqa: B027 - most have nothing to end
        """Make nothing ready any more, such as compiled or captured passes: the next calls are measured."""

    def stores(self) -> Sequence[EmbeddingStore]:
        """Return the embedding stores that `prepare` fills; none by default."""
        return ()

    def pay_from(self, budget: Budget) -> None:  # noqa: B027 - most rerankers cost nothing
        """Charge later calls to a budget, and stop before they could exceed what is left of it.

        Args:
            budget: dollars to spend.

        Raises:
            InputError: the price of the calls is unknown.
        """

    def describe(self) -> dict[str, object]:
        """Return the record's entry in JSON values: model revisions, dtype, attention and digests in use."""
        return {}

    def close(self) -> None:  # noqa: B027 - most rerankers hold nothing that needs closing
        """Close the clients and files that the reranker holds."""
