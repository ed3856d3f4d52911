"""The parts of a checkpoint, the same for every published format."""

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
        pooling: `mean`, `cls`, `last_token`, or `auto` where the checkpoint does not say.
        revision: hub revision, None where the checkpoint does not say.
        fingerprint: of its files if it came from a folder or a wheel.
        passage_prefix: put before passages; None is the encoder's own.
        max_length: longest passage in tokens.
        weights: its weights, if the checkpoint brings them.
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
    """A checkpoint taken apart.

    Attributes:
        llm: a causal LM of transformers, on its device.
        tokenizer: its tokenizer.
        projector: None if there is none to be had, and a random one has to do.
        encoder: None if the checkpoint does not say which encoder its projector belongs to.
        template: the wording it was trained with.
        described: for the record.
    """

    llm: Any
    tokenizer: Any
    projector: nn.Module | None
    encoder: EncoderIdentity | None
    described: dict[str, object]
    template: PromptTemplate = field(default_factory=PromptTemplate)
