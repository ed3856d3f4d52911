"""The order in which a training shows its records, and batches of them with little padding.

A visit is one record shown once. All visits of a training are numbered from the start: number k always shows
the same record in the same way, whatever was run before it. So a training that goes on after a kill needs to
know nothing but where it was.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rerankers.training.data.examples import Example, Examples, Sequenced

    Ints = npt.NDArray[np.int64]

_GROUP = 16  # batches sorted by length among themselves


class Visits(Dataset[tuple[int, "Example"]]):
    """A dataset of all visits of a training, in order: item k is the record shown as number k.

    Every epoch goes through the records in an order of its own; records of about the same length come into
    one batch. Records that do not fill a batch at the end of an epoch are left out of it.

    Args:
        examples: the records.
        batch_size: examples of one forward pass on one device.
        step_size: examples of one optimizer step.
        steps: optimizer steps in all.
        seed: of the order and of what a visit shows.
    """

    def __init__(self, examples: Examples, *, batch_size: int, step_size: int, steps: int, seed: int) -> None:
        self._examples, self._batch_size, self._seed = examples, batch_size, seed
        self._visits, self.step_size = steps * step_size, step_size
        self.epoch_size = visits_of_epoch(len(examples.lengths), step_size)
        self._order = lru_cache(maxsize=2)(self._epoch)

    def __len__(self) -> int:
        return self._visits

    def longest(self) -> Any:
        """Return an example of the record that makes the longest sequences."""
        return self._examples.visit(int(np.argmax(self._examples.lengths)), np.random.default_rng(0))

    def __getitem__(self, number: int) -> tuple[int, Example]:
        epoch, place = divmod(number, self.epoch_size)
        record = int(self._order(epoch)[place])
        return number, self._examples.visit(record, np.random.default_rng([self._seed, 1, number]))

    def _epoch(self, epoch: int) -> Ints:
        """Return the record numbers of one epoch in visiting order: shuffled batches of like length."""
        random = np.random.default_rng([self._seed, 0, epoch])
        order = random.permutation(len(self._examples.lengths))[: self.epoch_size]
        if len(order) <= self._batch_size:
            return order
        batches: list[Ints] = []
        group = _GROUP * self._batch_size
        for start in range(0, len(order), group):
            some = order[start : start + group]
            some = some[np.argsort(self._examples.lengths[some], kind="stable")]
            batches += [
                some[place : place + self._batch_size] for place in range(0, len(some), self._batch_size)
            ]
        full, rest = (
            [b for b in batches if len(b) == self._batch_size],
            [b for b in batches if len(b) < self._batch_size],
        )
        mixed = [full[place] for place in random.permutation(len(full))]
        return np.concatenate([*mixed, *rest])


def visits_of_epoch(records: int, step_size: int) -> int:
    """Return how many visits make one epoch: the records of whole steps, or all records if they are fewer."""
    return records - records % step_size if records >= step_size else records


class Collator:
    """A function that turns visits into a batch of tensors for `TrainableRanker.forward`.

    Each different passage is in the batch once.

    Args:
        passages: vectors by row, (passages, encoder dimension).
        queries: vectors by row, (queries, encoder dimension); None if no distillation is wanted.
        pool: passages to add at random, for the distillation.
        seed: of their choice.
    """

    def __init__(
        self,
        passages: npt.NDArray[np.float32],
        queries: npt.NDArray[np.float32] | None,
        pool: int,
        seed: int,
    ) -> None:
        self.passages, self._queries, self._pool, self._seed = passages, queries, pool, seed

    def __call__(self, visits: Sequence[tuple[int, Example]]) -> dict[str, torch.Tensor]:
        """Return a batch of tensors by argument name of `TrainableRanker.forward`."""
        examples = [example for _, example in visits]
        used = [example.passages for example in examples]
        if self._pool:
            random = np.random.default_rng([self._seed, 2, visits[0][0]])
            used.append(random.integers(len(self.passages), size=self._pool))
        rows = np.unique(np.concatenate(used))
        batch = {"vectors": self.passages[rows], **stack([each.sequence for each in examples], rows)}
        if examples[0].gold is not None:
            golds = [example.gold for example in examples if example.gold is not None]
            batch["gold"] = padded([np.searchsorted(rows, gold) for gold in golds], 0)
            batch["lengths"] = np.array([len(gold) for gold in golds], dtype=np.int64)
        if examples[0].with_text is not None:
            with_text = stack([each.with_text for each in examples if each.with_text is not None], rows)
            batch |= {f"text_{name}": array for name, array in with_text.items()}
        if self._queries is not None:
            batch["query_vectors"] = self._queries[
                [each.query for each in examples if each.query is not None]
            ]
        return {name: torch.from_numpy(array) for name, array in batch.items()}


def stack(sequences: Sequence[Sequenced], rows: Ints) -> dict[str, npt.NDArray[np.generic]]:
    """Return sequences as padded arrays (batch, longest) by name, with each sequence's end.

    Args:
        sequences: their `sources` are rows of the training's passages.
        rows: the batch's passages, sorted; `sources` in the result are positions among them.
    """
    sources = padded([sequence.sources for sequence in sequences], -1)
    stacked: dict[str, npt.NDArray[np.generic]] = {
        "token_ids": padded([sequence.token_ids for sequence in sequences], 0),
        "sources": np.where(sources >= 0, np.searchsorted(rows, sources), -1),
        "ends": np.array([sequence.end for sequence in sequences], dtype=np.int64),
    }
    labels = [sequence.labels for sequence in sequences if sequence.labels is not None]
    if labels:
        stacked["labels"] = padded(labels, -100)
    return stacked


def padded(arrays: Sequence[Ints], filler: int) -> Ints:
    """Return the arrays as rows of one array (len(arrays), longest), filled up with `filler` on the right."""
    padded = np.full((len(arrays), max(len(array) for array in arrays)), filler, dtype=np.int64)
    for row, array in enumerate(arrays):
        padded[row, : len(array)] = array
    return padded
