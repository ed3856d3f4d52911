"""Ranks held-out lists by greedy decoding while PE-Rank is trained, for `measures`."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import torch

from rerankers.pe_rank.decoding import WindowDecoder
from rerankers.pe_rank.model import PassageLLM
from rerankers.pe_rank.query_batch import lead_with
from rerankers.training.data.batches import stack
from rerankers.training.data.examples import sequenced
from rerankers.training.measures import DEPTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rerankers.pe_rank.prompt import Prompt, PromptWriter
    from rerankers.training.measures import HeldOutLists
    from rerankers.training.model import TrainableRanker


class Validation:
    """Held-out lists that a PE-Rank model in training ranks.

    Args:
        prompts: one a list, without text.
        rows: passages of each list in input order, as rows of `vectors`.
        lists: the references that their orders are measured against.
        vectors: of the passages under the encoder, (passages, encoder dimension).
        writer: of the prompts.
        batch_size: lists decoded at once.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        rows: Sequence[npt.NDArray[np.int64]],
        lists: HeldOutLists,
        vectors: npt.NDArray[np.float32],
        writer: PromptWriter,
        batch_size: int,
    ) -> None:
        self._prompts, self._rows, self.lists = prompts, rows, lists
        self._vectors, self._writer, self._batch_size = vectors, writer, batch_size

    def __len__(self) -> int:
        return len(self._prompts)

    def orders(self, model: TrainableRanker) -> list[list[int]]:
        """Return the model's order of each list: positions of its passages, best first.

        The model stays as it was.
        """
        was_training = model.training
        if model.merger is not None:
            model.merger.merge()
        # a copy of the projector: PassageLLM freezes and casts what it is given
        reader = PassageLLM(model.causal_lm, deepcopy(model.projector), self._writer)
        orders = self._decode(reader)
        model.train(was_training)
        return orders

    @torch.no_grad()
    def orders_by_forward(self, model: torch.nn.Module, device: torch.device) -> list[list[int]]:
        """Return the same as `orders`, by whole forward passes of a model spread over devices.

        Such a model can be called in no other way. Without a KV cache it takes as many times longer as ranks
        are decoded.

        Args:
            model: a `TrainableRanker`, wrapped by FSDP or DeepSpeed.
            device: where batches go.
        """
        was_training = model.training
        model.eval()
        orders: list[list[int]] = [[] for _ in self._prompts]
        for numbers in self._batches():
            rows, back = np.unique(np.stack([self._rows[number] for number in numbers]), return_inverse=True)
            by_list = back.reshape(len(numbers), -1)  # (lists, passages), positions among `rows`
            placed = np.empty((len(numbers), 0), dtype=np.int64)
            list_numbers = np.arange(len(numbers))
            for _ in range(max(1, min(DEPTH, by_list.shape[1] - 1))):
                sequences = [
                    sequenced(self._prompts[number], rows[by_list[row]], rows[by_list[row, placed[row]]])
                    for row, number in enumerate(numbers)
                ]
                batch = {"vectors": self._vectors[rows], **stack(sequences, rows), "candidates": by_list}
                tensors = {name: torch.from_numpy(array).to(device) for name, array in batch.items()}
                scores = model(**tensors)["scores"].cpu().numpy()
                scores[list_numbers[:, None], placed] = -np.inf
                placed = np.concatenate([placed, scores.argmax(axis=1)[:, None]], axis=1)
            for order, number in zip(placed.tolist(), numbers, strict=True):
                orders[number] = order + [place for place in range(by_list.shape[1]) if place not in order]
        model.train(was_training)
        return orders

    @torch.inference_mode()
    def _decode(self, reader: PassageLLM) -> list[list[int]]:
        """Return the order of each list that a `PassageLLM` decodes greedily, with a KV cache."""
        decoder = WindowDecoder(reader)
        orders: list[list[int]] = [[] for _ in self._prompts]
        for rows in self._batches():
            vectors = torch.from_numpy(self._vectors[np.stack([self._rows[row] for row in rows])])
            count = vectors.shape[1]
            batch = decoder.prefill([self._prompts[row] for row in rows], reader.project(vectors))
            places = decoder.steps(batch, max(1, min(DEPTH, count - 1)))
            for row, order in zip(rows, lead_with(places, count).tolist(), strict=True):
                orders[row] = order
        return orders

    def _batches(self) -> list[list[int]]:
        """Return batches of list numbers.

        The lists of a batch have equally many passages and prompts of like length.
        """
        by_count: dict[int, list[int]] = {}
        for number in sorted(range(len(self)), key=lambda number: len(self._prompts[number].token_ids)):
            by_count.setdefault(len(self._rows[number]), []).append(number)
        return [
            numbers[start : start + self._batch_size]
            for numbers in by_count.values()
            for start in range(0, len(numbers), self._batch_size)
        ]
