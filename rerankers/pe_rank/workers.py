"""Queries side by side: on a CPU, one core for each is faster than all cores for one after the other.

A window's matrix products are small: split over cores they wait for each other, and what lies between them
runs on one core alone. A GPU gains nothing from it: there one batch of rows does the same.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import torch

from rerankers.pe_rank.decoding import WindowDecoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerankers.pe_rank.model import PassageLLM

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Decoders over one model, each for one thread; keys and values live as long as they do."""

    def __init__(self, model: PassageLLM) -> None:
        self._model = model
        self.decoders = [WindowDecoder(model)]

    def number(self, queries: int) -> int:
        """How many threads `queries` queries are worth."""
        return min(queries, torch.get_num_threads()) if self._model.device.type == "cpu" else 1

    def map(self, work: Callable[[Item, WindowDecoder], Result], items: Sequence[Item]) -> list[Result]:
        """Do `work` on every item, each in a thread and with a decoder of its own; results in order."""
        while len(self.decoders) < len(items):
            self.decoders.append(WindowDecoder(self._model))
        if len(items) == 1:
            return [work(items[0], self.decoders[0])]
        threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(len(items), initializer=torch.set_num_threads, initargs=(1,)) as pool:
                return list(pool.map(work, items, self.decoders))
        finally:
            torch.set_num_threads(threads)  # part of torch's setting belongs to the process
