"""Threads that rank different queries at the same time, each with its own decoder over one model."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from rerankers.models.side_by_side import side_by_side, threads_for
from rerankers.pe_rank.decoding import WindowDecoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerankers.pe_rank.model import PassageLLM

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """The decoders of all threads over one model; their keys and values live as long as they do."""

    def __init__(self, model: PassageLLM) -> None:
        self._model = model
        self.decoders = [WindowDecoder(model)]

    def number(self, queries: int) -> int:
        """Return the number of threads to use for this many queries."""
        return threads_for(self._model.device, queries)

    def map(self, work: Callable[[Item, WindowDecoder], Result], items: Sequence[Item]) -> list[Result]:
        """Return the result of a function for each item, in the order of the items.

        Args:
            work: called with an item and the decoder of its thread.
            items: one for each thread.
        """
        while len(self.decoders) < len(items):
            self.decoders.append(WindowDecoder(self._model))
        pairs = list(zip(items, self.decoders, strict=False))
        return side_by_side(lambda pair: work(*pair), pairs, self._model.device)
