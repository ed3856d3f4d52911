"""Options of pairwise ranking prompting."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

from rerankers.comparisons.sorting import best_by_pairs, heap_order, pair_bubble_order, set_bubble_order
from rerankers.methods.comparisons.shared import ComparisonOptions, expected_comparisons

if TYPE_CHECKING:
    from collections.abc import Generator

    from rerankers.comparisons.sorting import Best
    from rerankers.work import RequestSize, Work

Y = TypeVar("Y")
S = TypeVar("S")
PairwiseMethod = Literal["sliding", "heap", "all-pairs", "bubble-llm4ranking", "heap-llm4ranking"]
PROMPT = (
    'Given a query "{query}", which of the following two passages is more relevant to the query?\n\n'
    "{passages}\n\nOutput Passage A or Passage B:"
)


def pair_sort(method: PairwiseMethod, count: int, top: int, best: Best[Y, S]) -> Generator[Y, S, list[int]]:
    """Sort by a method that compares one pair after another; `best` compares its items in pairs."""
    match method:
        case "heap":
            return (yield from heap_order(count, top, 2, best))
        case "heap-llm4ranking":
            return (yield from heap_order(count, top, 2, best, rest_as_left=True))
        case "bubble-llm4ranking":
            return (yield from set_bubble_order(count, top, 1, best, rest_as_left=True))
        case _:
            return (yield from pair_bubble_order(count, top, best))


class PairwiseOptions(ComparisonOptions):
    """Options of `pairwise`."""

    summary: ClassVar[str] = "a chat model compares two passages at a time (arXiv 2306.17563)"
    implementation: ClassVar[str] = "rerankers.comparisons.pairwise:Pairwise"

    method: PairwiseMethod = "sliding"
    """`sliding` passes from the tail to the head, each of which settles one rank; `heap`; or `all-pairs`,
    whose calls do not depend on each other. `bubble-llm4ranking` and `heap-llm4ranking` make the calls of
    that code: passes that leave out a tail in order, and a heap of which the rest of the list is left as it
    is."""

    def work(self, size: RequestSize) -> Work:
        """Estimate the work: a pair is a call, and one more in the other order if the challenger wins it."""
        count = size.candidates
        if self.method == "all-pairs":
            work = self.work_of_comparisons(size, PROMPT, [2] * (count * (count - 1)))
            return replace(work, sequential_calls=int(count > 1), depends_on_answers=False)

        def sort(best: Best[None, None]) -> Generator[None, None, list[int]]:
            def wins(challenger: int, leader: int) -> Generator[None, None, bool]:
                return bool((yield from best([leader, challenger])))

            return pair_sort(self.method, count, self.top, best_by_pairs(wins))

        passage_counts = [2 for _, winner in expected_comparisons(count, sort) for _ in range(1 + winner)]
        return self.work_of_comparisons(size, PROMPT, passage_counts)
