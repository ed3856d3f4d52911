"""Options of setwise prompting."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

from pydantic import Field

from rerankers.comparisons.sorting import heap_order, insertion_order, set_bubble_order
from rerankers.methods.comparisons.shared import ComparisonOptions, expected_comparisons

if TYPE_CHECKING:
    from collections.abc import Generator

    from rerankers.comparisons.sorting import Best
    from rerankers.work import RequestSize, Work

Y = TypeVar("Y")
S = TypeVar("S")
PROMPT = (
    'Given a query "{query}", which of the following passages is the most relevant one to the query?\n\n'
    "{passages}\n\nOutput only the passage label of the most relevant passage:"
)
SetwiseMethod = Literal["heap", "bubble", "insertion"]


def set_sort(
    method: SetwiseMethod, count: int, top: int, children: int, best: Best[Y, S]
) -> Generator[Y, S, list[int]]:
    """Sort by a method; `best` selects the best of a few items."""
    match method:
        case "heap":
            return (yield from heap_order(count, top, children, best))
        case "bubble":
            return (yield from set_bubble_order(count, top, children, best))
        case "insertion":
            return (yield from insertion_order(count, top, children, best))


class SetwiseOptions(ComparisonOptions):
    """Options of `setwise`: a chat model picks the best of a few passages, and a sort uses these choices."""

    summary: ClassVar[str] = "a chat model picks the best of a few passages (arXiv 2310.09497)"
    implementation: ClassVar[str] = "rerankers.comparisons.setwise:Setwise"

    method: SetwiseMethod = "heap"
    """`heap`, `bubble` or `insertion`."""

    children: int = Field(default=2, ge=1, le=25)
    """Children of a node of the heap, the published code's `num_child`. A prompt shows one more passage, so
    2, the value of the published results, is the paper's c = 3."""

    def work(self, size: RequestSize) -> Work:
        """Estimate the work: each comparison is a call."""
        count = size.candidates
        comparisons = expected_comparisons(
            count, lambda best: set_sort(self.method, count, self.top, self.children, best)
        )
        return self.work_of_comparisons(size, PROMPT, [shown for shown, _ in comparisons])
