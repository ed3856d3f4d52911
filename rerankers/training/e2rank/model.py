"""The trainable E2Rank model: a decoder whose last token's state is a text's vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from rerankers.training.e2rank import losses


@dataclass(frozen=True, slots=True)
class Objective:
    """The weights and settings of E2Rank's two losses; see `losses`.

    Attributes:
        temperature: of InfoNCE.
        scale: of RankNet's cosines.
        ranknet_weight: of RankNet beside InfoNCE.
    """

    temperature: float = losses.TEMPERATURE
    scale: float = losses.SCALE
    ranknet_weight: float = losses.RANKNET_WEIGHT


class TrainableE2Rank(nn.Module):
    """E2Rank as a module to train: a decoder that embeds texts, with the two losses of the embeddings.

    Args:
        decoder: a decoder without a vocabulary head, or PEFT's wrapping of one.
        objective: settings of the loss that `forward` computes.
    """

    def __init__(self, decoder: Any, objective: Objective) -> None:
        super().__init__()
        self.decoder = decoder
        self.objective = objective
        self.merger = None

    def forward(
        self,
        queries: torch.Tensor,
        query_ends: torch.Tensor,
        passages: torch.Tensor,
        passage_ends: torch.Tensor,
        prompts: torch.Tensor,
        prompt_ends: torch.Tensor,
        ranking: torch.Tensor,
    ) -> dict[str, Any]:
        """Return the loss of one batch of lists of n passages each, and its parts.

        Args:
            queries: token ids, padded on the right, (batch, longest query).
            query_ends: column of each query's last token, (batch,).
            passages: token ids of all passages, list by list, (batch * n, longest passage).
            passage_ends: their last tokens, (batch * n,).
            prompts: token ids of the listwise prompts, (batch, longest prompt).
            prompt_ends: their last tokens, (batch,).
            ranking: positions of each list's passages, best first, (batch, n).

        Returns:
            `loss` (a scalar) and `parts` (detached scalars by name).
        """
        query_vectors = self.vectors(queries, query_ends)
        passage_vectors = self.vectors(passages, passage_ends).view(*ranking.shape, -1)
        prompt_vectors = self.vectors(prompts, prompt_ends)
        objective = self.objective
        parts = {
            "info_nce": losses.info_nce(query_vectors, passage_vectors, ranking, objective.temperature),
            "rank_net": losses.rank_net(prompt_vectors, passage_vectors, ranking, objective.scale),
        }
        loss = parts["info_nce"] + objective.ranknet_weight * parts["rank_net"]
        return {"loss": loss, "parts": {name: part.detach() for name, part in parts.items()}}

    def vectors(self, token_ids: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        """Return embeddings of texts, (rows, dimension) float32, of length one: states at the rows' ends.

        Rows are padded on the right, where causal attention never looks: no mask is needed.

        Args:
            token_ids: (rows, columns).
            ends: column of each row's last token, (rows,).
        """
        hidden = self.decoder(input_ids=token_ids, use_cache=False).last_hidden_state
        chosen = hidden[torch.arange(len(ends), device=hidden.device), ends]
        return F.normalize(chosen.float(), dim=-1)
