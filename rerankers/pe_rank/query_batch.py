"""Queries that are ranked together: the order of their candidates so far, and the data that windows share."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from rerankers.encoders.transfer import to_device
from rerankers.pe_rank.speculative import DraftMemory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.interface import Cost, RerankRequest
    from rerankers.pe_rank.decoding import WindowDecoder
    from rerankers.pe_rank.prompt import Prompt, PromptWriter
    from rerankers.pe_rank.speculative import DraftPolicy
    from rerankers.stages import StageClock


class QueryBatch:
    """A batch of requests with equal numbers of candidates while their windows are ranked.

    Args:
        requests: the requests.
        costs: the cost of each.
        clock: times the stages.
        decoder: ranks the windows.
        policy: decides between single steps and speculative decoding.

    Attributes:
        order: candidate positions of every row, best first so far, (rows, candidates), on the device.
        projected: by candidate position, (rows, candidates, dimension); None if made in every window.
        memory: hidden states of earlier windows, for the drafts of later ones; None where a query may have
            several rows.
        first_of: for each candidate the first one with the same text, (rows, candidates); None if all texts
            differ.
    """

    def __init__(
        self,
        requests: Sequence[RerankRequest],
        costs: Sequence[Cost],
        clock: StageClock,
        decoder: WindowDecoder,
        policy: DraftPolicy,
    ) -> None:
        self.requests, self.costs, self.clock = requests, costs, clock
        self.decoder, self.policy = decoder, policy
        device = decoder.model.device
        self.projected: torch.Tensor | None = None
        with clock.stage("order", *costs):
            count = len(requests[0].candidates)
            self.order = torch.arange(count, device=device).repeat(len(requests), 1)
            self.memory: DraftMemory | None = DraftMemory(len(requests), count, device)
            texts = [[candidate.text for candidate in request.candidates] for request in requests]
            self.first_of: torch.Tensor | None = None
            if any(len(set(row)) < count for row in texts):
                first = [[row.index(text) for text in row] for row in texts]
                self.first_of = to_device(torch.tensor(first), device)
        self._prompts: dict[tuple[int, int], Prompt] = {}
        self._owners = list(range(len(requests)))  # the query of each row, by which prompts are kept

    def rows(self, owners: Sequence[int]) -> QueryBatch:
        """Return a batch with the queries at these positions, one a row; a query may have several rows."""
        part = copy.copy(self)
        index = to_device(torch.tensor(owners), self.order.device)
        part.requests = [self.requests[owner] for owner in owners]
        part.costs = [self.costs[owner] for owner in owners]
        part._owners = list(owners)
        part.memory = None
        part.projected = None if self.projected is None else self.projected[index]
        part.first_of = None if self.first_of is None else self.first_of[index]
        return part

    def same_text(self, rows: torch.Tensor) -> torch.Tensor | None:
        """Return for each passage of a window the position of the first passage with the same text.

        Args:
            rows: candidate positions of the window's passages, (rows, n).

        Returns:
            (rows, n); None if all texts differ.
        """
        if self.first_of is None:
            return None
        groups = self.first_of.gather(1, rows)
        return (groups[:, :, None] == groups[:, None, :]).int().argmax(dim=2)

    def bare_prompt(self, writer: PromptWriter, row: int, count: int) -> Prompt:
        """Return the prompt of a row's query for `count` passages without their text, written once."""
        key = self._owners[row], count
        if key not in self._prompts:
            self._prompts[key] = writer.write(self.requests[row].query, count)
        return self._prompts[key]


def lead_with(places: torch.Tensor, count: int) -> torch.Tensor:
    """Return an order of positions 0..count-1 for every row: `places` first, the rest in input order.

    Args:
        places: positions that come first, (rows, depth).
        count: number of positions.

    Returns:
        (rows, count)
    """
    rows, depth = places.shape
    key = torch.arange(depth, depth + count, device=places.device).repeat(rows, 1)
    key.scatter_(1, places, torch.arange(depth, device=places.device).expand(rows, -1))
    return key.argsort(dim=1)
