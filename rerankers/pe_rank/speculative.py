"""Speculative decoding: the ranks of step-by-step greedy decoding in fewer sequential forward passes.

All open ranks are drafted at once and verified in one forward pass. Causal attention makes the scores after
the first t drafted passages those of step-by-step decoding as long as these t are right; so leading ranks
that agree with their own scores are accepted, and the first that does not is corrected by its score. Each
pass accepts at least one rank more, and accepted ranks are those that single steps would have chosen.

The draft follows a table: for each passage, the scores last seen right after it. Scores depend mostly on
the passage ranked last, so the walk "the best after the last, the best after that one, ..." is near the
truth once each passage has been run. For a passage that an earlier window of the query ran, the hidden state
comes from there (`DraftMemory`); until a passage has been run, its row is the scores for the first rank.

This is blockwise parallel decoding (arXiv 1811.03115) with a table in place of a second model: the output is
known to be a permutation of a few passages, whose embeddings are at hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from rerankers.encoders.transfer import read_back

if TYPE_CHECKING:
    from rerankers.methods.pe_rank import DraftMode
    from rerankers.pe_rank.decoding import Batch, WindowDecoder


_FREE_TOKENS = {"cpu": 16, "cuda": 256}
_LEAST_AHEAD = 64  # free tokens with which look-ahead saves passes
_FIRST_GUESS = 3.0  # places a pass, before anything is known


def free_tokens_of(device: torch.device) -> int:
    """Return the number of tokens whose arithmetic takes as long as reading the weights once."""
    return _FREE_TOKENS.get(device.type, _FREE_TOKENS["cuda"])


class DraftPolicy:
    """A policy that decides for each window whether speculative decoding is cheaper than single steps.

    A pass costs the reading of all weights plus arithmetic for its tokens. Single steps are `depth - 1`
    passes of one token a row; speculative decoding takes fewer passes of more tokens. How many fewer is
    estimated from the windows decoded so far. Only counts are used, so the same input leads to the same
    decisions.

    Args:
        mode: `auto` decides by cost; `off` never drafts; `on` always drafts three ranks or more.
        free_tokens: tokens whose arithmetic takes as long as reading the weights once.
    """

    def __init__(self, mode: DraftMode, free_tokens: int) -> None:
        self._mode, self._free_tokens = mode, free_tokens
        self._places_per_pass = _FIRST_GUESS

    def drafts(self, rows: int, depth: int) -> bool:
        """Return whether to decode a batch of `rows` windows to `depth` ranks speculatively."""
        if self._mode != "auto" or depth < 3:
            return self._mode != "off" and depth > 2
        steps = (depth - 1) * (1 + rows / self._free_tokens)
        passes = (depth - 1) / self._places_per_pass
        return passes * (1 + rows * depth / 2 / self._free_tokens) < steps

    def looks_ahead(self, queries: int) -> bool:
        """Return whether to draft the windows of a batch ahead: of a single query, if its drafts are free."""
        return self._mode != "off" and queries == 1 and self._free_tokens >= _LEAST_AHEAD

    def learn(self, depth: int, passes: int) -> None:
        """Update the estimate of ranks per pass: a window of `depth` ranks took `passes` passes."""
        self._places_per_pass += 0.5 * ((depth - 1) / max(passes, 1) - self._places_per_pass)


class DraftMemory:
    """The hidden states last seen right after each candidate, in any window; they shape drafts only.

    Args:
        rows: number of queries.
        candidates: number of candidates of each query.
        device: the device that holds the states.
    """

    def __init__(self, rows: int, candidates: int, device: torch.device) -> None:
        self._row = torch.arange(rows, device=device)[:, None]
        self._is_known = torch.zeros(rows, candidates, dtype=torch.bool, device=device)
        self._states: torch.Tensor | None = None  # (rows, candidates, dimension)

    def table(self, batch: Batch, shown: torch.Tensor) -> torch.Tensor:
        """Return an estimate of the scores of all passages right after each passage, from earlier states.

        Args:
            batch: a window of each query, whose prompts have been run.
            shown: candidate positions of its passages, (rows, n).

        Returns:
            (rows, passage, n), float32; for a passage that was never run, the scores for the first rank.
        """
        first = batch.scores(batch.hidden[:, None])  # (rows, 1, n)
        if self._states is None:
            return first.repeat(1, shown.shape[1], 1)
        after = batch.scores(self._states[self._row, shown])
        return torch.where(self._is_known[self._row, shown][:, :, None], after, first)

    def keep(self, shown: torch.Tensor, states: torch.Tensor) -> None:
        """Store hidden states by candidate, in place of earlier ones.

        Args:
            shown: candidate positions, (rows, q).
            states: hidden states right after these candidates, (rows, q, dimension).
        """
        if self._states is None:
            self._states = states.new_zeros(*self._is_known.shape, states.shape[2])
        self._states[self._row, shown] = states
        self._is_known[self._row, shown] = True


@torch.inference_mode()
def draft_and_verify(
    decoder: WindowDecoder,
    batch: Batch,
    depth: int,
    memory: DraftMemory | None = None,
    shown: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the first `depth` ranks of every row as passage positions, (rows, depth).

    They are those of `WindowDecoder.steps`. The host waits once a pass, for the number of accepted ranks.

    Args:
        decoder: the decoder that ran the prompts.
        batch: the windows.
        depth: ranks to decode.
        memory: of earlier windows; drafts follow it and it is updated by this window. It changes the number
            of passes, never the ranks.
        shown: candidate positions of the passages by which `memory` stores them, (rows, n).
    """
    rows, count = batch.projected.shape[:2]
    device = batch.projected.device
    row = torch.arange(rows, device=device)[:, None]
    if memory is None or shown is None:  # a memory of this window alone, by passage position
        memory = DraftMemory(rows, count, device)
        shown = torch.arange(count, device=device).repeat(rows, 1)
    first = batch.scores(batch.hidden[:, None])  # (rows, 1, n)
    after = memory.table(batch, shown)  # (rows, passage, n): scores last seen right after it
    draft = _walk(after, first[:, 0].argmax(dim=1, keepdim=True), depth)
    settled = 1  # places that are right in every row
    while settled < depth:
        start = settled - 1  # the last settled place has not been run yet
        run = draft[:, start : depth - 1]
        states = decoder.follow(batch, batch.projected[row, run], start)
        after[row, run] = batch.scores(states)
        memory.keep(shown.gather(1, run), states)
        checked = _walk(after, draft[:, :settled], depth)
        agree = (checked[:, settled:] == draft[:, settled:]).int().cumprod(dim=1).sum(dim=1)
        draft = checked
        settled = min(depth, settled + read_back(agree.min())[0] + 1)
    return draft


def _walk(after: torch.Tensor, begun: torch.Tensor, depth: int) -> torch.Tensor:
    """Return ranks extended to `depth`, (rows, depth): each next one is the best open passage after the last.

    Args:
        after: scores of all passages right after each passage, (rows, passage, n).
        begun: the first ranks as passage positions, (rows, m).
        depth: ranks in all.
    """
    row = torch.arange(len(begun), device=begun.device)
    taken = torch.zeros(after.shape[:2], dtype=torch.bool, device=after.device).scatter_(1, begun, True)
    places = list(begun.unbind(dim=1))
    while len(places) < depth:
        places.append(after[row, places[-1]].masked_fill(taken, -torch.inf).argmax(dim=1))
        taken.scatter_(1, places[-1][:, None], True)
    return torch.stack(places, dim=1)
