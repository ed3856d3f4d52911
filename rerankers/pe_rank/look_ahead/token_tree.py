"""Token sequences that share prefixes, run as one tree: tree attention over one KV cache.

Every node is a token of a prompt or a passage, and stands for the sequence from the root to it. A forward
pass runs all nodes that were added since the last one, whatever sequences they belong to: the attention mask
shows each node its ancestors alone, and its position is the number of them (tree attention, arXiv 2305.09781,
section 4). So the hidden state of a node is that of its sequence run by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rerankers.encoders.transfer import read_array, to_device

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from rerankers.pe_rank.model import PassageLLM

    Scores = npt.NDArray[np.floating[Any]]

ROOT = -1
"""The node before the first token."""
_ROUND = 512  # nodes by which the mask grows


def passage_item(candidate: int) -> int:
    """Return the item that stands for a passage in a sequence; items of tokens are their ids."""
    return -1 - candidate


class TokenTree:
    """A tree of tokens and passages whose keys and values are in a KV cache; a node's number is its column.

    Args:
        model: the language model.

    Attributes:
        cache: the KV cache.
        items: what each node holds: a token id, or a passage by `passage_item`.
        positions: the number of ancestors of each node.
        added: nodes in the tree; those from `ran` on have not been run.
        ran: nodes that have been run.
    """

    def __init__(self, model: PassageLLM) -> None:
        self._model, self.cache = model, model.new_window_cache()
        self._sees = np.zeros((0, 0), dtype=bool)  # (node, node): whether the second is an ancestor or itself
        self._empty()

    def _empty(self) -> None:
        """Forget all nodes."""
        self.items: list[int] = []
        self.positions: list[int] = []
        self.ran = 0
        self._parents: list[int] = []
        self._children: dict[tuple[int, int], int] = {}  # by node and item
        self._scores: list[Scores] = []

    @property
    def added(self) -> int:
        """The number of nodes, run or not."""
        return len(self.items)

    def child(self, node: int, item: int) -> int | None:
        """Return the child of a node that holds an item and has been run; None if there is none."""
        child = self._children.get((node, item))
        return child if child is not None and child < self.ran else None

    def add(self, node: int, item: int) -> int:
        """Return the child of a node that holds an item; it is added if need be, and run by the next pass."""
        child = self._children.get((node, item))
        if child is None:
            child = self._children[node, item] = len(self.items)
            self._append(node, item)
        return child

    def _append(self, parent: int, item: int) -> None:
        """Append a node behind its parent."""
        node = len(self.items)
        if node == len(self._sees):
            room = np.zeros((node + _ROUND, node + _ROUND), dtype=bool)
            room[:node, :node] = self._sees
            self._sees = room
        self._sees[node] = self._sees[parent] if parent != ROOT else False
        self._sees[node, node] = True
        self.items.append(item)
        self._parents.append(parent)
        self.positions.append(0 if parent == ROOT else self.positions[parent] + 1)

    def path(self, items: Iterable[int]) -> list[int]:
        """Return the nodes of the longest prefix of a sequence of items that has been run."""
        nodes: list[int] = []
        for item in items:
            node = self.child(nodes[-1] if nodes else ROOT, item)
            if node is None:
                break
            nodes.append(node)
        return nodes

    def scores(self, node: int) -> Scores:
        """Return the score of each passage right after a node that has been run, (candidates,)."""
        return self._scores[node]

    @torch.inference_mode()
    def run(self, projected: torch.Tensor, first_of: torch.Tensor | None) -> range:
        """Run all nodes that have not been run in one forward pass, and return them; the host waits once.

        Args:
            projected: the query's passages in the input space, (candidates, dimension).
            first_of: for each passage the first one with the same text, (candidates,), whose score it shares;
                None if all texts differ.
        """
        start, end, device = self.ran, self.added, self._model.device
        items = to_device(torch.tensor(self.items[start:]), device)
        tokens = self._model.embed(items.clamp(min=0))
        passages = projected[(-1 - items).clamp(min=0)]
        inputs = torch.where((items < 0)[:, None], passages, tokens)
        positions = to_device(torch.tensor(self.positions[start:]), device)
        mask = to_device(torch.from_numpy(self._sees[start:end, :end].copy()), device)
        self.cache.set_length(start)
        hidden = self._model.forward(inputs[None], positions[None], self.cache, mask[None, None])[0]
        scores = hidden.float() @ projected.float().T
        if first_of is not None:
            scores = scores[:, first_of]
        self._scores.extend(read_array(scores))
        self.ran = end
        return range(start, end)

    def below(self, node: int) -> list[int]:
        """Return the nodes that have been run and stand behind a node, itself included."""
        return np.flatnonzero(self._sees[: self.ran, node]).tolist()

    @torch.inference_mode()
    def keep(self, nodes: Sequence[int]) -> None:
        """Remove all nodes but these, and number them anew.

        Args:
            nodes: nodes that have been run, with all their ancestors, in ascending order.
        """
        number = {ROOT: ROOT} | {node: place for place, node in enumerate(nodes)}
        items, parents, scores = self.items, self._parents, self._scores
        self._empty()
        self.cache.keep(to_device(torch.tensor(nodes, dtype=torch.long), self._model.device))
        for node in nodes:
            self.add(number[parents[node]], items[node])
            self._scores.append(scores[node])
        self.ran = len(nodes)
