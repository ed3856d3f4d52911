"""The interface of a first stage that an experiment names: constructed once, then searched query by query."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from rerankers.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchmarks.datasets.dataset import Dataset


class Documents:
    """The passages of a dataset as (doc id, text) pairs; each iteration starts from the first one."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def __iter__(self) -> Iterator[tuple[str, str]]:
        yield from self._dataset.documents()


class FirstStage(ABC):
    """A retriever that proposes candidates for a query.

    It is constructed once for a dataset, which is not timed. Each search is.

    Args:
        documents: the dataset's passages, to be indexed or ignored.
        options: an instance of `options_model`.
    """

    options_model: ClassVar[type[Options]] = Options
    """The type of the options; by default there are none."""

    @abstractmethod
    def __init__(self, documents: Documents, options: Any) -> None: ...

    @abstractmethod
    def search(self, query: str, depth: int) -> Iterable[tuple[str, float]]:
        """Return at most `depth` (doc id, score) pairs for a query, best first; fewer if few match."""
