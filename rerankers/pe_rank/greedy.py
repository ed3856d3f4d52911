"""The greedy reference decoder of one window, written to be read; the fast decoder is tested against it.

The prompt is run once; then, rank after rank, every passage without a rank is scored, the best gets the next
rank, and its projected embedding is the next input (arXiv 2406.14848, section 3.3). Passages after `depth`
ranks keep the input order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from rerankers.pe_rank.model import PassageLLM
    from rerankers.pe_rank.prompt import Prompt


@torch.inference_mode()
def first_scores(model: PassageLLM, prompt: Prompt, projected: torch.Tensor) -> torch.Tensor:
    """Return the scores of all passages for the first rank, (n,) float32.

    Args:
        model: the language model.
        prompt: of the window.
        projected: the passages in the language model's input space, (n, dimension).
    """
    return _scores(_run_prompt(model, prompt, projected)[0], projected)


@torch.inference_mode()
def plain_order(
    model: PassageLLM,
    prompt: Prompt,
    projected: torch.Tensor,
    depth: int | None = None,
    canonical: list[int] | None = None,
) -> list[int]:
    """Return the order of one window's passages by greedy decoding.

    Args:
        model: the language model.
        prompt: with one passage placeholder a passage.
        projected: the passages in the language model's input space, (n, dimension).
        depth: ranks to decode; None for all.
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
    """Return the last hidden state of a prompt with its passages put in, (dimension,), and the cache of
    the pass.
    """
    inputs = model.embed(torch.tensor([prompt.token_ids], device=model.device))
    inputs[0, list(prompt.placeholders)] = projected
    positions = torch.arange(len(prompt.token_ids), device=model.device)[None]
    cache = model.new_cache()
    return model.forward(inputs, positions, cache)[0, -1], cache


def _scores(hidden: torch.Tensor, projected: torch.Tensor) -> torch.Tensor:
    """Return the score of each passage, its dot product with a hidden state, (n,) float32."""
    return projected.float() @ hidden.float()
