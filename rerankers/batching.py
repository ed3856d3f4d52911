"""Length-sorted batches under a token budget: little padding, and bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

BatchTokens = Literal["auto"] | Annotated[int, Field(ge=1)]
"""Tokens in one forward pass, padding included; `auto` chooses by device."""


def resolve_batch_tokens(batch_tokens: BatchTokens, device: torch.device) -> int:
    """`auto` is 32768 on CUDA, which large batches fill, and 512 for each of torch's threads on a CPU.

    On a CPU more only brings padding, and activations that leave the caches: 2048 tokens on one thread took
    up to 1.4 times as long as 512.
    """
    if batch_tokens == "auto":
        import torch

        return 32768 if device.type == "cuda" else 512 * torch.get_num_threads()
    return batch_tokens


def length_sorted_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Positions of all inputs, longest first, cut so that rows times longest row stays within the budget.

    An input longer than the budget is a batch of its own. Equal lengths keep their order.
    """
    batches: list[list[int]] = []
    for position in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        longest = lengths[batches[-1][0]] if batches else 0
        if batches and (len(batches[-1]) + 1) * longest <= batch_tokens:
            batches[-1].append(position)
        else:
            batches.append([position])
    return batches
