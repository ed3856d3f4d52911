"""Length-sorted batches under a token budget, for little padding and bounded memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from rerankers.models.side_by_side import threads_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

BatchTokens = Literal["auto"] | Annotated[int, Field(ge=1)]
"""Tokens in one forward pass, padding included; `auto` chooses by device."""


def resolve_batch_tokens(batch_tokens: BatchTokens, device: torch.device) -> int:
    """Return the token budget of a forward pass on a device.

    `auto` is 32768 on CUDA, which large batches fill, and 512 on a CPU, a batch a core. On a CPU more only
    brings padding, and activations that leave the caches: 2048 tokens on one core took up to 1.4 times as
    long as 512.
    """
    if batch_tokens == "auto":
        return 32768 if device.type == "cuda" else 512
    return batch_tokens


def length_sorted_batches(
    lengths: Sequence[int], batch_tokens: int, device: torch.device, *, are_padded: bool = True
) -> list[list[int]]:
    """Return batches of inputs as lists of their positions, longest inputs first.

    In a batch, rows times the longest row stays within the budget; if rows are not padded, the sum of their
    lengths does. An input longer than the budget is a batch of its own. Equal lengths keep their order. Where
    several cores each run batches of their own, every core gets as many, of about as many tokens
    (`side_by_side`).

    Args:
        lengths: tokens of each input.
        batch_tokens: the budget, in tokens.
        device: the device that runs the batches.
        are_padded: whether the rows of a batch are padded to the longest.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    cores = threads_for(device, len(lengths))
    if cores > 1:
        total = sum(lengths)
        count = cores * math.ceil(total / (cores * batch_tokens))
        even: list[list[int]] = [[] for _ in range(count)]
        before = 0
        for position in order:
            even[int(count * (before + lengths[position] / 2) / total)].append(position)
            before += lengths[position]
        return [batch for batch in even if batch]
    batches: list[list[int]] = []
    filled = 0  # tokens of the last batch
    for position in order:
        length = lengths[batches[-1][0] if batches and are_padded else position]
        if batches and filled + length <= batch_tokens:
            batches[-1].append(position)
            filled += length
        else:
            batches.append([position])
            filled = lengths[position]
    return batches
