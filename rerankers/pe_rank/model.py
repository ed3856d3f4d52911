"""A language model that reads passages as embeddings: projected passages replace the placeholders'
embeddings.

Only the transformer is used, never the vocabulary's logits: a passage's score is the dot product of the last
hidden state and its projected embedding, in float32 (arXiv 2406.14848, section 3.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from rerankers.errors import ModelError
from rerankers.llm.exactness import is_alike
from rerankers.llm.static.buckets import BucketBuffers
from rerankers.llm.static.buffers import KeyValueBuffers
from rerankers.llm.static.capture import CapturedPasses
from rerankers.llm.static.decoder import StaticDecoder
from rerankers.llm.static.packing import refusal
from rerankers.pe_rank.cache import WindowCache

if TYPE_CHECKING:
    from torch import nn

    from rerankers.llm.static.capture import CaptureMode
    from rerankers.pe_rank.prompt import PromptWriter


class PassageLLM:
    """A causal transformer, the projector before it, and the writer of its prompts.

    Args:
        llm: a causal LM of transformers; its head is not used and not kept.
        projector: from passage embeddings to `llm`'s input space.
        writer: writes prompts with `llm`'s tokenizer.

    Attributes:
        captured: the passes of windows in buckets; None where passes have the shapes of their data.

    Raises:
        ModelError: the model has a recurrent state in place of keys and values.
    """

    def __init__(self, llm: Any, projector: nn.Module, writer: PromptWriter) -> None:
        self.transformer: Any = llm.base_model.eval()
        self.writer = writer
        self._tokens: Any = llm.get_input_embeddings()
        weight: torch.Tensor = self._tokens.weight
        self.device, self.dtype = weight.device, weight.dtype
        self.dimension = weight.shape[1]
        self.projector = projector.to(self.device, self.dtype).eval().requires_grad_(False)
        config = llm.config
        kinds = set(getattr(config, "layer_types", None) or [])
        if not kinds <= {"full_attention", "sliding_attention"}:
            raise ModelError(f"{config.model_type} keeps a recurrent state, which windows cannot share")
        self.context: int = getattr(config, "max_position_embeddings", None) or config.max_seq_len
        sliding = getattr(config, "sliding_window", None) if kinds != {"full_attention"} else None
        if sliding and getattr(config, "use_sliding_window", True):
            self.context = min(self.context, sliding)
        self.attention: str = config._attn_implementation
        self._kind: str = config.model_type
        self._static: StaticDecoder | None = None
        self.captured: CapturedPasses | None = None

    @torch.inference_mode()
    def refuse_inexact_windows(self) -> None:
        """Refuse a model that gives other hidden states for a text read in two parts with masked columns
        between.

        Windows are read in this way.

        Raises:
            ModelError: the model does not honour masks and positions, or takes no embeddings.
        """
        if self.attention == "flash_attention_2":
            return  # it takes no mask, and gets none
        count, begun, gap = 12, 5, 24  # tokens, those of the first part, masked columns
        inputs = self.embed(torch.arange(count, device=self.device))[None]  # (1, count, dimension)
        positions = torch.arange(count, device=self.device)[None]
        causal = torch.ones(count - begun, count - begun, device=self.device).tril().bool()
        mask = torch.zeros(1, 1, gap + count - begun, begun + gap + count - begun, device=self.device).bool()
        mask[..., :begun] = True
        mask[0, 0, gap:, begun + gap :] = causal
        try:
            whole = self.forward(inputs, positions, self.new_cache())[0, -1]
            cache = self.new_cache()
            self.forward(inputs[:, :begun], positions[:, :begun], cache)
            rest = torch.cat([inputs[:, :1].expand(-1, gap, -1), inputs[:, begun:]], dim=1)
            behind = torch.cat([positions[:, :1].expand(-1, gap), positions[:, begun:]], dim=1)
            parts = self.forward(rest, behind, cache, mask)[0, -1]
        except (RuntimeError, TypeError, ValueError) as error:
            raise ModelError(f"{self._kind} cannot read the windows of PE-Rank: {error}") from error
        if not is_alike(parts, whole):
            raise ModelError(
                f"{self._kind} does not honour attention masks and positions, which the windows of PE-Rank "
                "need. Choose another language model."
            )

    @torch.inference_mode()
    def use_static_passes(self) -> str | None:
        """Make window decoders run static passes (`rerankers.llm.static`), if this model supports them.

        Returns:
            None; if the model does not support them, the reason in a few words, and transformers' own passes
            are run as before.
        """
        if self.attention != "sdpa":
            return f"attention is {self.attention}, and static passes use sdpa"
        reason = refusal(self.transformer)
        if reason is not None:
            return reason
        static = StaticDecoder(self.transformer)
        inputs = self.embed(torch.arange(12, device=self.device))[None]  # (1, 12, dimension)
        positions = torch.arange(12, device=self.device)[None]
        whole = self.forward(inputs, positions, self.new_cache())[0, -1]
        if not is_alike(static.forward(inputs, positions, static.new_buffers())[0, -1], whole):
            return "its hidden states differ from those of transformers"
        self._static, self.captured = static, None
        return None

    def capture_passes(self, mode: CaptureMode) -> str | None:
        """Make window decoders run static passes in buckets, captured when a bucket is first met.

        `use_static_passes` has to come before.

        Returns:
            None; if this device has no such captures, the reason, and static passes are run as before.
        """
        if mode == "graphs" and self.device.type != "cuda":
            return f"CUDA graphs need a GPU, and the device is {self.device.type}"
        if self._static is not None:
            self.captured = CapturedPasses(self._static, mode)
        return None

    def new_cache(self) -> WindowCache:
        """Return an empty cache for passes of transformers."""
        return WindowCache(self.transformer.config.num_hidden_layers)

    def new_window_cache(self) -> WindowCache | KeyValueBuffers:
        """Return an empty cache for a window decoder: that of static passes where they are used."""
        if self.captured is not None:
            return self.captured.new_buffers()
        return self.new_cache() if self._static is None else self._static.new_buffers()

    @torch.inference_mode()
    def project(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return passage embeddings in the model's input space, (n, dimension) in its dtype.

        Args:
            vectors: passage embeddings, (n, encoder dimension) float32.
        """
        projected: torch.Tensor = self.projector(vectors.to(self.device, self.dtype))
        return projected

    def embed(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Return token embeddings, (..., dimension), of token ids, (...).

        Ids beyond the vocabulary (passage placeholders, padding) get an arbitrary embedding.
        """
        rows: int = self._tokens.weight.shape[0]
        embedded: torch.Tensor = self._tokens(token_ids.clamp(0, rows - 1))
        return embedded

    def forward(
        self,
        inputs: torch.Tensor,
        positions: torch.Tensor,
        cache: WindowCache | KeyValueBuffers,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the last hidden states, (batch, q, dimension), of embeddings that follow the columns in
        `cache`.

        The type of the cache decides between a pass of transformers, a static and a captured one.

        Args:
            inputs: embeddings, (batch, q, dimension).
            positions: their positions, (batch, q).
            cache: keys and values of earlier columns; the new ones are appended.
            mask: True where a query may look, (batch, 1, q, columns); None for plain causal attention.
        """
        if self.captured is not None and isinstance(cache, BucketBuffers):
            return self.captured.forward(inputs, positions, cache, mask)
        if self._static is not None and isinstance(cache, KeyValueBuffers):
            return self._static.forward(inputs, positions, cache, mask)
        if mask is not None and self.attention == "eager":
            mask = torch.zeros_like(mask, dtype=self.dtype).masked_fill(~mask, torch.finfo(self.dtype).min)
        hidden: torch.Tensor = self.transformer(
            inputs_embeds=inputs,
            position_ids=positions,
            past_key_values=cache,
            attention_mask=mask,
            use_cache=True,
        ).last_hidden_state
        return hidden
