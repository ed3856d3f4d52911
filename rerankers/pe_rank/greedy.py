"""Greedy decoding of one window, written to be read: the oracle that the fast decoder is tested against.

The prompt is run once; then, place after place, every passage not yet placed is scored, the best is placed,
and its projected embedding is the next input (arXiv 2406.14848, section 3.3). Places from `depth` on keep the
input order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from rerankers.pe_rank.model import PassageLLM
    from rerankers.pe_rank.prompt import Prompt


@torch.inference_mode()
def first_scores(model: PassageLLM, prompt: Prompt, projected: torch.Tensor) -> torch.Tensor:
    """Return scores (n,) of all passages for the first place, float32."""
    return _scores(_run_prompt(model, prompt, projected)[0], projected)


@torch.inference_mode()
def plain_order(
    model: PassageLLM,
    prompt: Prompt,
    projected: torch.Tensor,
    depth: int | None = None,
    canonical: list[int] | None = None,
) -> list[int]:
    """Order one window's passages.

    Args:
        model: the language model.
        prompt: with one slot a passage.
        projected: the passages in the language model's input space, (n, dimension).
        depth: places to decode; None for all.
        canonical: for each passage the first passage with the same text, whose score it shares; equal scores
            keep the input order.

    Returns:
        Passage positions (0-based), best first; a permutation of `range(n)`.
    """
    count = len(projected)
    depth = min(count - 1 if depth is None else depth, count - 1)  # the last place is what is left
    chosen: list[int] = []
    if depth > 0:
        hidden, cache = _run_prompt(model, prompt, projected)
        while True:
            scores = _scores(hidden, projected)
            if canonical is not None:
                scores = scores[canonical]
            scores[chosen] = -torch.inf
            chosen.append(int(scores.argmax()))
            if len(chosen) == depth:
                break
            position = torch.tensor([[len(prompt.token_ids) + len(chosen) - 1]], device=model.device)
            hidden = model.forward(projected[chosen[-1]].view(1, 1, -1), position, cache)[0, -1]
    return chosen + [i for i in range(count) if i not in chosen]


def _run_prompt(model: PassageLLM, prompt: Prompt, projected: torch.Tensor):  # type: ignore[no-untyped-def]
    """Return the last hidden state (dimension,) of the prompt, and the cache that holds it."""
    inputs = model.embed(torch.tensor([prompt.token_ids], device=model.device))
    inputs[0, list(prompt.slots)] = projected
    positions = torch.arange(len(prompt.token_ids), device=model.device)[None]
    cache = model.new_cache()
    return model.forward(inputs, positions, cache)[0, -1], cache


def _scores(hidden: torch.Tensor, projected: torch.Tensor) -> torch.Tensor:
    """Return (n,) dot products in float32."""
    return projected.float() @ hidden.float()
