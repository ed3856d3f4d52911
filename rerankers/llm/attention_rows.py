"""The attention that the last tokens of a prompt pay to its beginning, read in one forward pass.

A pass holds one beginning and several endings, packed into one row: `beginning, ending, ending, ...`. Each
ending continues the beginning at the same positions and sees no other ending, so the beginning's keys and
values are computed once for all endings. Only the rows of the endings' tokens are turned into attention
weights, only for the heads asked for, and they are averaged at once: the matrix of all tokens by all tokens
never exists. The pass ends with the attention weights of the last layer asked for; no logits are computed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from rerankers.errors import ModelError
from rerankers.llm.packed import Packed, PassEnded, packing, visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerankers.llm.causal import CausalLM

Heads = dict[int, list[int]]
"""The heads asked for, by layer; both count from 0."""

_TOLERANCE = {torch.float32: 1e-5, torch.float16: 5e-3}  # of a weight, which lies between 0 and 1
_HALF_TOLERANCE = 2e-2
_TRIAL = (
    "Every spring the lighthouse keeper counts the ships that pass the northern reef.",
    " Then he reads their names aloud to the bees.",
    " The bees do not care, but they like his voice, and stay.",
)


@dataclass
class _Rows(Packed):
    """A packed row of one forward pass, and the attention read in it so far.

    Attributes:
        heads: the heads to read, by layer.
        last_token_only: whether only each ending's last token is read, instead of the mean over its tokens.
        by_head: whether each head's weights are kept, instead of their sum.
        weights: for each ending, the weights on the beginning's tokens: (heads, beginning) of each layer
            read, or their sum over heads and layers, (1, beginning).
    """

    heads: Mapping[int, Sequence[int]]
    last_token_only: bool
    by_head: bool
    weights: list[list[torch.Tensor]] = field(init=False)

    def __post_init__(self) -> None:
        self.weights = [[] for _ in self.endings]

    def note(self, module: Any, ending: int, rows: torch.Tensor, keys: torch.Tensor, scaling: float) -> None:
        """Add the attention weights of the layer's chosen heads to `weights`.

        See `Packed.note` for the arguments.
        """
        heads = self.heads.get(module.layer_idx, ())
        if not heads:
            return
        length = rows.shape[2]
        last = slice(length - 1, length) if self.last_token_only else slice(0, length)
        logits = rows[0, heads, last].float() @ keys[0, heads].float().mT * scaling
        hidden = ~visible(self.beginning, length, rows.device)[last]
        weights = logits.masked_fill(hidden, -torch.inf).softmax(dim=-1)
        attention = weights[:, :, : self.beginning].mean(dim=1)  # (heads, beginning)
        if self.by_head:
            self.weights[ending].append(attention)
        else:
            total = attention.sum(dim=0, keepdim=True)
            self.weights[ending] = [sum(self.weights[ending], total)]


class AttentionRows:
    """A reader of the attention weights of a causal LM's chosen heads, in packed passes.

    The model is changed: its layers above the last head are dropped, and it computes no logits any more.

    Args:
        llm: the model, as loaded.
        heads: the heads to read; None for all.

    Attributes:
        context: the longest prompt in tokens for which the attention is exact; None where nothing limits it.

    Raises:
        ModelError: the model does not have these heads, or its attention cannot be read exactly.
    """

    def __init__(self, llm: CausalLM, heads: Heads | None = None) -> None:
        self._model = llm.model
        self._decoder = llm.model.get_decoder()
        self._device = llm.device
        config = self._decoder.config
        self._refuse_other_attention(llm, config)
        self.heads = self._known(llm, heads, config)
        limits = [getattr(config, "max_position_embeddings", None), getattr(config, "sliding_window", None)]
        self.context = min((limit for limit in limits if isinstance(limit, int)), default=None)
        self._check(llm)
        self._decoder.layers = self._decoder.layers[: max(self.heads) + 1]
        config.num_hidden_layers = len(self._decoder.layers)

    def read(
        self, beginning: Sequence[int], endings: Sequence[Sequence[int]], *, last_token_only: bool = False
    ) -> torch.Tensor:
        """Return the attention of each ending to each token of the beginning, summed over the heads.

        Args:
            beginning: token ids that all prompts begin with.
            endings: token ids that follow, of each prompt.
            last_token_only: read the last token of each ending instead of the mean over its tokens.

        Returns:
            (endings, beginning), float32, on the CPU. Weights are softmax weights over the whole prompt.
        """
        return self._read(beginning, endings, last_token_only=last_token_only, by_head=False)[:, 0]

    def read_heads(self, beginning: Sequence[int], endings: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return the attention of each ending to each token of the beginning, by head.

        Args:
            beginning: token ids that all prompts begin with.
            endings: token ids that follow, of each prompt.

        Returns:
            (endings, heads, beginning): heads by layer, and within a layer in the order of `heads`.
        """
        return self._read(beginning, endings, last_token_only=False, by_head=True)

    @torch.inference_mode()
    def _read(
        self,
        beginning: Sequence[int],
        endings: Sequence[Sequence[int]],
        *,
        last_token_only: bool,
        by_head: bool,
    ) -> torch.Tensor:
        """Return attention weights, (endings, heads, beginning), or (endings, 1, beginning) without
        `by_head`.

        See `read` and `read_heads` for the arguments.

        Raises:
            ModelError: the model does not call transformers' attention interface.
        """
        lengths = [len(ending) for ending in endings]
        rows = _Rows(len(beginning), lengths, self.heads, last_token_only, by_head)
        ids = [*beginning, *(token for ending in endings for token in ending)]
        rows.last_layer = max(self.heads)
        with packing(self._model), suppress(PassEnded):
            self._decoder(
                input_ids=torch.tensor([ids], device=self._device),
                position_ids=torch.tensor([rows.positions(is_cached=False)], device=self._device),
                use_cache=False,
                packed=rows,
            )
        if not all(rows.weights):
            raise ModelError("this model does not attend through transformers' attention interface")
        return torch.stack([torch.cat(layers) for layers in rows.weights]).cpu()

    def _known(self, llm: CausalLM, heads: Heads | None, config: Any) -> Heads:
        """Return the heads to read by ascending layer, all of the model's for None.

        Raises:
            ModelError: the model lacks one of them.
        """
        layers, heads_per_layer = config.num_hidden_layers, config.num_attention_heads
        if heads is None:
            return {layer: list(range(heads_per_layer)) for layer in range(layers)}
        for layer, chosen in heads.items():
            for head in chosen:
                if not (0 <= layer < layers and 0 <= head < heads_per_layer):
                    raise ModelError(
                        f"{llm.describe()['model']!r} has no head {layer}-{head}: its {layers} layers have "
                        f"{heads_per_layer} heads each, both counted from 0. Choose heads of this model."
                    )
        return {layer: list(chosen) for layer, chosen in sorted(heads.items())}

    def _refuse_other_attention(self, llm: CausalLM, config: Any) -> None:
        """Refuse a model whose configuration lists layers without attention, such as recurrent ones.

        Raises:
            ModelError: there are such layers.
        """
        kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
        if kinds or not hasattr(self._decoder, "layers") or not hasattr(config, "num_attention_heads"):
            raise _refusal(llm, f"it has layers of the kind {', '.join(sorted(kinds)) or 'unknown'}")

    @torch.inference_mode()
    def _check(self, llm: CausalLM) -> None:
        """Compare the weights read for two short prompts with those that the model itself gives, head by
        head.

        Raises:
            ModelError: they differ by more than rounding, or the trial fails.
        """
        beginning, *endings = (llm.tokenizer(text, add_special_tokens=False)["input_ids"] for text in _TRIAL)
        config = self._decoder.config
        before = config._attn_implementation
        try:
            row_attention = self.read_heads(beginning, endings)
            config._attn_implementation = "eager"
            whole_attention = [
                self._decoder(
                    input_ids=torch.tensor([[*beginning, *ending]], device=self._device),
                    use_cache=False,
                    output_attentions=True,
                ).attentions
                for ending in endings
            ]
        except ModelError:
            raise
        except Exception as error:
            raise _refusal(llm, f"a trial failed ({type(error).__name__}: {error})") from error
        finally:
            config._attn_implementation = before
        for of_ending, layers in zip(row_attention, whole_attention, strict=True):
            chosen = [layers[layer][0, heads] for layer, heads in self.heads.items()]
            rows = torch.cat(chosen)[:, len(beginning) :, : len(beginning)]  # (heads, ending, beginning)
            difference = (rows.float().mean(dim=1).cpu() - of_ending).abs().max()
            if not difference <= _TOLERANCE.get(llm.model.dtype, _HALF_TOLERANCE):
                raise _refusal(llm, f"weights read in a trial differ by {float(difference):.2g}")


def _refusal(llm: CausalLM, reason: str) -> ModelError:
    """Return the error for a model whose attention cannot be read, for a reason."""
    name = llm.describe()["model"]
    return ModelError(
        f"the attention of {name!r} cannot be read exactly: {reason}. Name a model of the Llama, Qwen or "
        "Mistral families."
    )
