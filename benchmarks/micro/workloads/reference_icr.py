"""An ICR that works as the published code does, as the baseline that the benchmark compares with.

Written from what the code does (arXiv 2410.02642): the prompt of the content-free query is read whole, with
logits at every position; the query tokens' attention to every token is computed from the stored queries and
keys, for all heads of all layers; then the cache is cut back to the passages and the real query is read.
Without `shares` both prompts are read whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import DynamicCache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from rerankers.listwise.icr import calibrated_scores

if TYPE_CHECKING:
    from rerankers.listwise.icr_prompt import ICRPromptWriter

_NAME = "reference_icr"


@dataclass
class ReferenceICR:
    """An ICR that scores one query at a time with all attention heads.

    Attributes:
        model: a causal LM of transformers with all of its vocabulary.
        writer: writes the prompts.
        shares: whether the second prompt reuses the passages' keys and values.
    """

    model: Any
    writer: ICRPromptWriter
    shares: bool = True
    _seen: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list, init=False)

    @torch.inference_mode()
    def score(self, query: str, passages: list[str]) -> list[float]:
        """Score passages for a query, in their order."""
        ALL_ATTENTION_FUNCTIONS.register(_NAME, self._attend)
        self.model.config._attn_implementation = _NAME
        prompt = self.writer.write(["N/A", query], passages)
        cut = len(prompt.beginning)
        cache = DynamicCache(config=self.model.config)
        calibration = self._weights([*prompt.beginning, *prompt.endings[0]], len(prompt.endings[0]), cache)
        if self.shares:
            cache.crop(-len(prompt.endings[0]))
            weights = self._weights(prompt.endings[1], len(prompt.endings[1]), cache)
        else:
            whole = [*prompt.beginning, *prompt.endings[1]]
            weights = self._weights(whole, len(prompt.endings[1]), DynamicCache(config=self.model.config))
        return calibrated_scores(weights[:cut] - calibration[:cut], prompt.passages)

    def _weights(self, ids: list[int], rows: int, cache: Any) -> torch.Tensor:
        """Read tokens, and return the mean attention of the last `rows` of them to every token, (tokens,).

        It is summed over layers and heads.

        Args:
            ids: token ids to read.
            rows: number of last tokens whose attention counts.
            cache: keys and values of the tokens before, which is extended.
        """
        self._seen = []
        self._rows = rows
        self.model(input_ids=torch.tensor([ids]), past_key_values=cache, use_cache=True)
        layers = []
        for query, key in self._seen:
            logits = query @ key.mT / query.shape[-1] ** 0.5  # (1, heads, rows, tokens)
            visible = torch.ones_like(logits[0, 0], dtype=torch.bool).tril(key.shape[2] - rows)
            layers.append(logits.masked_fill(~visible, -torch.inf).softmax(-1)[0].mean(1))
        return torch.stack(layers).sum(0).sum(0)

    def _attend(
        self, module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, None]:
        """Compute a layer's attention as transformers asks for it, and keep the last queries and all keys."""
        groups = query.shape[1] // key.shape[1]
        keys, values = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        self._seen.append((query[:, :, -self._rows :], keys))
        mask = None
        if query.shape[2] < key.shape[2]:
            mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril(
                key.shape[2] - query.shape[2]
            )
        output = scaled_dot_product_attention(query, keys, values, attn_mask=mask, is_causal=mask is None)
        return output.transpose(1, 2), None
