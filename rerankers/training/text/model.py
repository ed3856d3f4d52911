"""The trainable text ranker: a language model that writes the order of the passages in its prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import nn

from rerankers.training.text.examples import IGNORED

if TYPE_CHECKING:
    import torch

    from rerankers.training.adapters import StepMerger


class TrainableTextRanker(nn.Module):
    """A causal LM, with or without a LoRA adapter by PEFT, that learns to write the order of passages.

    Args:
        llm: a causal LM of transformers, or PEFT's wrapping of one.
        merger: merges the adapter's weights once a step; None leaves the adapter as PEFT computes it.
    """

    def __init__(self, llm: Any, merger: StepMerger | None = None) -> None:
        super().__init__()
        self.llm = llm
        self.merger = merger

    @property
    def causal_lm(self) -> Any:
        """The causal LM of transformers, its linear layers wrapped where there is an adapter."""
        return self.llm.get_base_model() if hasattr(self.llm, "peft_config") else self.llm

    def forward(self, token_ids: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        """Return the cross-entropy of the answers' tokens, the mean over all of them in the batch.

        The vocabulary's logits are computed in columns that have a label, not over the prompts.

        Args:
            token_ids: (batch, columns), anything at padding, which is on the right.
            labels: the next token of the answer, else `IGNORED`, (batch, columns).

        Returns:
            `loss` (a scalar) and `parts` (detached scalars by name).
        """
        if self.merger is not None:
            self.merger.merge()
        columns = (labels != IGNORED).any(dim=0).nonzero()[:, 0]
        logits = self.causal_lm(input_ids=token_ids, use_cache=False, logits_to_keep=columns).logits
        loss = F.cross_entropy(  # logits: (batch, columns with a label, vocabulary)
            logits.float().flatten(0, 1), labels[:, columns].flatten(), ignore_index=IGNORED
        )
        return {"loss": loss, "parts": {"cross_entropy": loss.detach()}}
