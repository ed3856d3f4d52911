"""The trainable PE-Rank model: a language model and a projector that share one loss.

The encoder is not a part of it: it is frozen, and its vectors come with the batch. Ranking needs hidden
states only, so the vocabulary's logits are computed in the alignment stage alone, for the answer's tokens
alone. Sequences are padded on the right, where a causal model never looks: no attention mask is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from rerankers.training import losses

if TYPE_CHECKING:
    from rerankers.training.adapters import StepMerger


@dataclass(frozen=True, slots=True)
class Objective:
    """The weights and settings of the losses in one forward pass of PE-Rank.

    Attributes:
        reduction: of ListMLE over the steps of a list; see `losses`.
        discount: weight ListMLE's steps as nDCG discounts ranks.
        kl_weight: of the divergence between the prompts with and without text.
        first_step_weight: of the first step's distillation in the `rank` stage; `query` has nothing else.
        temperature: of the distillation's teacher.
    """

    reduction: losses.Reduction = "paper"
    discount: bool = False
    kl_weight: float = losses.KL_WEIGHT
    first_step_weight: float = 0.0
    temperature: float = 0.05


class TrainableRanker(nn.Module):
    """The trainable PE-Rank model: a causal LM, with or without a LoRA adapter, and a projector before it.

    Args:
        llm: a causal LM of transformers, or PEFT's wrapping of one.
        projector: from encoder vectors to `llm`'s input space.
        objective: settings of the loss that `forward` computes.
        merger: merges the adapter's weights once a step; None leaves the adapter as PEFT computes it.
    """

    def __init__(
        self, llm: Any, projector: nn.Module, objective: Objective, merger: StepMerger | None = None
    ) -> None:
        super().__init__()
        self.llm = llm
        self.projector = projector
        self.objective = objective
        self.merger = merger

    @property
    def causal_lm(self) -> Any:
        """The causal LM of transformers, its linear layers wrapped where there is an adapter."""
        return self.llm.get_base_model() if hasattr(self.llm, "peft_config") else self.llm

    @property
    def dimension(self) -> int:
        """Dimension of the language model's input embeddings."""
        size: int = self.causal_lm.get_input_embeddings().embedding_dim
        return size

    def forward(
        self,
        vectors: torch.Tensor,
        token_ids: torch.Tensor,
        sources: torch.Tensor,
        ends: torch.Tensor,
        gold: torch.Tensor | None = None,
        lengths: torch.Tensor | None = None,
        query_vectors: torch.Tensor | None = None,
        text_token_ids: torch.Tensor | None = None,
        text_sources: torch.Tensor | None = None,
        text_ends: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        candidates: torch.Tensor | None = None,  # no `**`: the trainer would skip averaging over batches
    ) -> dict[str, Any]:
        """Return the loss of one batch, and its parts; or scores, where candidates are given.

        One method does both, because sharded weights can be called in no other way.

        Args:
            vectors: of the batch's different passages under the encoder, (m, encoder dimension).
            token_ids: (batch, columns), anything at passage placeholders and padding.
            sources: (batch, columns): a row of `vectors` where a passage stands, -1 where a token does.
            ends: column of the prompt's last token, (batch,).
            gold: rows of `vectors` in gold order, (batch, n); 0 at padding. Needed by `rank`.
            lengths: passages of each list, (batch,). Needed by `rank`.
            query_vectors: of the queries under the encoder, (batch, encoder dimension), for the distillation.
            text_token_ids, text_sources, text_ends: the same of the prompt with text, if it is trained on.
            labels: the next token where it is to be predicted, else -100, (batch, columns), for `align`.
            candidates: rows of `vectors` to be scored for the next rank, (batch, n).

        Returns:
            `loss` (a scalar) and `parts` (detached scalars by name); or `scores`, (batch, n) float32.
        """
        if self.merger is not None:
            self.merger.merge()
        with torch.autocast(vectors.device.type, enabled=False):  # it is small, and all scores hang on it
            projected = self.projector(vectors)
        hidden = self._hidden(token_ids, sources, projected)
        if candidates is not None:
            return {"scores": _next_scores(_last(hidden, ends), projected[candidates])}
        parts: dict[str, torch.Tensor] = {}
        if labels is not None:
            parts["cross_entropy"] = self._cross_entropy(hidden, labels)
        else:
            if gold is not None and lengths is not None:
                in_order = projected[gold]  # (batch, n, dimension)
                without = _log_probabilities(hidden, ends, in_order, lengths)
                parts["list_mle"] = self._list_mle(without, lengths)
                if text_token_ids is not None and text_sources is not None and text_ends is not None:
                    hidden_text = self._hidden(text_token_ids, text_sources, projected)
                    with_text = _log_probabilities(hidden_text, text_ends, in_order, lengths)
                    parts["list_mle_with_text"] = self._list_mle(with_text, lengths)
                    parts["kl"] = losses.context_divergence(with_text, without)
            if query_vectors is not None:
                parts["first_step"] = self._first_step(_last(hidden, ends), query_vectors, vectors, projected)
        return {
            "loss": self._total(parts, hidden.device),
            "parts": {name: part.detach() for name, part in parts.items()},
        }

    def _total(self, parts: dict[str, torch.Tensor], device: torch.device) -> torch.Tensor:
        """Return the weighted sum of the losses `parts`, a float32 scalar."""
        weights = {"kl": self.objective.kl_weight, "first_step": self.objective.first_step_weight}
        total = torch.zeros((), dtype=torch.float32, device=device)
        for name, part in parts.items():
            total = total + (weights[name] * part if name in weights else part)
        return total

    def _first_step(
        self,
        hidden: torch.Tensor,
        query_vectors: torch.Tensor,
        vectors: torch.Tensor,
        projected: torch.Tensor,
    ) -> torch.Tensor:
        """Return the divergence of the model's choice of the first passage from the encoder's, a scalar.

        Args:
            hidden: states of the prompts' last tokens, (batch, dimension).
            query_vectors: (batch, encoder dimension).
            vectors: of the passages, (m, encoder dimension).
            projected: the passages' projected vectors, (m, dimension).
        """
        similarities = losses.product(query_vectors, vectors.T)
        return losses.first_step_distillation(hidden, projected, similarities, self.objective.temperature)

    def _cross_entropy(self, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy of the tokens to predict, a scalar.

        Only where `labels` is not -100 are logits made.
        """
        is_predicted = labels != -100
        logits = self.causal_lm.get_output_embeddings()(hidden[is_predicted])  # (answer tokens, vocabulary)
        return F.cross_entropy(logits.float(), labels[is_predicted])

    def _list_mle(self, log_probabilities: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return ListMLE with this objective's reduction and discount, a scalar."""
        objective = self.objective
        return losses.list_mle(log_probabilities, lengths, objective.reduction, discount=objective.discount)

    def _hidden(
        self, token_ids: torch.Tensor, sources: torch.Tensor, projected: torch.Tensor
    ) -> torch.Tensor:
        """Return the last hidden states (batch, columns, dimension) of tokens and projected passages."""
        inputs = self.inputs(token_ids, sources, projected)
        llm = self.causal_lm
        hidden: torch.Tensor = llm.base_model(inputs_embeds=inputs, use_cache=False).last_hidden_state
        return hidden

    def inputs(self, token_ids: torch.Tensor, sources: torch.Tensor, projected: torch.Tensor) -> torch.Tensor:
        """Return input embeddings (batch, columns, dimension), projected passages at their placeholders."""
        tokens: torch.Tensor = self.causal_lm.get_input_embeddings()(token_ids)
        passages = projected.to(tokens.dtype)[sources.clamp(min=0)]
        return torch.where((sources >= 0)[:, :, None], passages, tokens)


def _next_scores(hidden: torch.Tensor, passages: torch.Tensor) -> torch.Tensor:
    """Return scores (batch, n) float32 of passages (batch, n, dimension) by states (batch, dimension)."""
    return losses.product(passages, hidden[:, :, None])[:, :, 0]


def _log_probabilities(
    hidden: torch.Tensor, ends: torch.Tensor, in_order: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Return the log-probabilities of the gold passages at each step, (batch, n, n).

    Args:
        hidden: states of the whole sequences, (batch, columns, dimension).
        ends: column of each prompt's last token.
        in_order: projected passages in gold order, (batch, n, dimension).
        lengths: passages of each list.
    """
    return losses.step_log_probabilities(_steps(hidden, ends, in_order.shape[1]), in_order, lengths)


def _last(hidden: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """Return the hidden states of the prompts' last tokens, (batch, dimension)."""
    return hidden[torch.arange(len(hidden), device=hidden.device), ends]


def _steps(hidden: torch.Tensor, ends: torch.Tensor, count: int) -> torch.Tensor:
    """Return the hidden states (batch, count, dimension) from each prompt's last token on."""
    columns = ends[:, None] + torch.arange(count, device=hidden.device)
    rows = torch.arange(len(hidden), device=hidden.device)[:, None]
    return hidden[rows, columns.clamp(max=hidden.shape[1] - 1)]
