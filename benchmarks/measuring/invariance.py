"""Checks that a reranker gives a passage the same score alone and in a batch, on a few passages.

Padding, a shared prefix or a mask that a model ignores change scores without an error. Kernels of half
precision also round by shape. The check tells how much: `rerankbench doctor` prints it, and the record of a
cell keeps it where every passage gets a score of its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import permutations
from typing import TYPE_CHECKING, Any

from rerankers.errors import InputError
from rerankers.interface import RerankRequest
from rerankers.registry import create, options_model, validated
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rerankers.interface import Candidate, Reranker

PASSAGES = 6
_NEARLY_EQUAL = 0.01  # of the range of scores
_QUERIES = (
    "why do leaves turn red in autumn",
    "how deep is the Mariana Trench and how was its depth measured for the first time",
    "dough",
)
_TEXTS = (
    "Red leaves get their colour from anthocyanins, made in autumn when sugar is trapped in the leaf.",
    "Yeast makes gas, which lets dough rise.",
    "The Challenger Deep lies about 10,935 metres below the surface. HMS Challenger sounded it in 1875 with "
    "a weighted rope of several miles, which took hours to sink and longer to haul in. Echo soundings took "
    "its place seventy years later, and two people first went down in 1960, in the bathyscaphe Trieste.",
    "Autumn begins with the September equinox, when day and night last equally long.",
    "Salt.",
    "Trench coats were worn by British officers. " * 8,
)


@dataclass(frozen=True, slots=True)
class ScoreDifference:
    """The differences between passages' scores in a batch and the scores of the same passages alone.

    Attributes:
        passages: number of passages that were compared.
        largest_difference: largest difference of a passage's two scores.
        score_range: highest score alone less the lowest, to compare a difference with.
        same_order: whether both orders are the same, ignoring passages whose scores alone lie less than a
            hundredth of the range apart, which half precision may turn around.
    """

    passages: int
    largest_difference: float
    score_range: float
    same_order: bool

    def __str__(self) -> str:
        order = "the same order" if self.same_order else "ANOTHER ORDER"
        return (
            f"scores of {self.passages} passages alone and in a batch differ by at most "
            f"{self.largest_difference:.2g}, within a range of {self.score_range:.3g}: {order}"
        )


def score_difference(reranker: Reranker, requests: Sequence[RerankRequest]) -> ScoreDifference | None:
    """Rank a few passages of one query in a batch and one by one, and return how their scores differ.

    The query is the first with two passages or more; its passages are taken from the shortest to the longest.

    Returns:
        None for a reranker whose scores depend on the other passages, or where no query has two passages.
    """
    request = next(
        (candidate_request for candidate_request in requests if len(candidate_request.candidates) > 1), None
    )
    if request is None or not reranker.scores_passages_alone:
        return None
    some = replace(request, candidates=_of_unlike_lengths(request.candidates))
    clock = StageClock()
    [ranking] = reranker.rerank([some], clock)
    together = dict(zip(ranking.doc_ids, ranking.scores, strict=True))
    alone = {}
    for candidate in some.candidates:
        [single] = reranker.rerank([replace(some, candidates=(candidate,))], clock)
        alone[candidate.doc_id] = single.scores[0]
    return ScoreDifference(
        passages=len(alone),
        largest_difference=max(abs(together[doc_id] - score) for doc_id, score in alone.items()),
        score_range=max(alone.values()) - min(alone.values()),
        same_order=not _inversions(alone, together),
    )


def _inversions(alone: Mapping[str, float], together: Mapping[str, float]) -> int:
    """Count the pairs of passages that `together` orders otherwise than `alone`; both are score by doc id.

    Pairs whose scores alone are nearly equal are left out.
    """
    least = _NEARLY_EQUAL * (max(alone.values()) - min(alone.values()))
    return sum(
        alone[first] - alone[second] > least and together[first] < together[second]
        for first, second in permutations(alone, 2)
    )


def described_difference(reranker: Reranker, requests: Sequence[RerankRequest]) -> dict[str, Any]:
    """Return the score difference as JSON values under `batch_invariance`, for a record; {} for none."""
    difference = score_difference(reranker, requests)
    return {"batch_invariance": asdict(difference)} if difference else {}


def check_reranker(name: str, options: Mapping[str, object]) -> Iterator[str]:
    """Yield sentences on how a reranker's scores and rankings differ alone and in a batch, on built-in texts.

    Args:
        name: the reranker.
        options: its options.

    Raises:
        InputError: the reranker or an option is wrong, it looks at the judgements, or it calls an endpoint.
    """
    if options_model(name).needs_qrels:
        raise InputError(f"{name} looks at the judgements. Name another reranker.")
    if validated(name, options).is_remote:
        raise InputError(
            f"{name} calls an endpoint, whose batches are its own. Name a model in this process."
        )
    requests = _requests()
    reranker = create(name, options)
    try:
        difference = score_difference(reranker, requests)
        if difference is not None:
            yield str(difference)
        clock = StageClock()
        together = [ranking.doc_ids for ranking in reranker.rerank(requests, clock)]
        alone = [reranker.rerank([request], clock)[0].doc_ids for request in requests]
        unlike = sum(first != second for first, second in zip(together, alone, strict=True))
        yield f"{unlike} of {len(requests)} queries are ranked differently alone and in a batch"
        if way := reranker.describe().get("reading"):
            yield f"prompts are read {way}"
    finally:
        reranker.close()


def _requests() -> list[RerankRequest]:
    """Return the built-in requests: three queries of different lengths, each with the same six passages."""
    passages = {f"d{i}": text for i, text in enumerate(_TEXTS)}
    return [RerankRequest.of(query, passages, f"q{i}") for i, query in enumerate(_QUERIES)]


def _of_unlike_lengths(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Return up to six candidates with different texts, evenly from the shortest to the longest."""
    by_length = sorted(
        {candidate.text: candidate for candidate in candidates}.values(),
        key=lambda candidate: len(candidate.text),
    )
    last = len(by_length) - 1
    count = min(PASSAGES, len(by_length))
    places = [last * i // max(1, count - 1) for i in range(count)]
    return tuple(by_length[place] for place in places)
