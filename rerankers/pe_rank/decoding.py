"""Fast greedy decoding of windows: the same ranks as `plain_order`, with less work and no waiting.

The savings, and why they change no rank:

- Scores are computed for the window's passages only, never for the vocabulary.
- The prefix that a prompt shares with the prompt before it (the instruction; within one query, the query) is
  not run again (`rerankers.pe_rank.cached_prefix`). The prefix that the rows of a batch share is run once.
- The first rank follows from the prompt itself and the last rank from the others: n - 1 forward passes for n
  ranks, prefill included. Decoding stops at the depth asked for.
- Ranks are kept on the device: the loop of single steps never waits for it.
- Several windows with the same number of passages run as rows of one batch (`rerankers.pe_rank.layout`).
  Padding is masked, and positions skip it.
- `rerankers.pe_rank.speculative` replaces single steps by speculative decoding.
- `rerankers.pe_rank.look_ahead` ranks the windows of a single query; each pass drafts the next window, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from rerankers.encoders.transfer import to_device
from rerankers.errors import ModelError
from rerankers.pe_rank.cached_prefix import CachedPrefix
from rerankers.pe_rank.layout import PASSAGE, Layout
from rerankers.pe_rank.look_ahead.token_tree import TokenTree

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rerankers.pe_rank.model import PassageLLM
    from rerankers.pe_rank.prompt import Prompt

_CPU_TOKENS = 1024  # of prompts in one pass on a CPU; more do not fit its caches


@dataclass(slots=True)
class Batch:
    """A batch of windows whose prompts have been run, one a row.

    Attributes:
        projected: passages in the input space, (rows, n, dimension).
        hidden: last hidden state, (rows, dimension).
        real: True where a column is not padding, (rows, columns); None if there is no padding at all.
        lengths: tokens of each prompt, (rows, 1), on the device.
        columns: columns in the cache that belong to the prompt.
        same: for each passage the first one with the same text, (rows, n); None if all texts differ.
        passes: forward passes so far.
        run_tokens: prompt tokens that were run, by row.
        kept_tokens: prompt tokens whose keys and values were cached already, by row.
    """

    projected: torch.Tensor
    hidden: torch.Tensor
    real: torch.Tensor | None
    lengths: torch.Tensor
    columns: int
    same: torch.Tensor | None
    passes: int
    run_tokens: list[int]
    kept_tokens: list[int]

    def scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the score of each passage after each hidden state, their dot product, (rows, q, n) float32.

        Args:
            hidden: hidden states, (rows, q, dimension).
        """
        scores = hidden.float() @ self.projected.float().transpose(1, 2)
        if self.same is not None:
            scores = scores.gather(2, self.same[:, None].expand_as(scores))
        return scores


class WindowDecoder:
    """A decoder of batches of windows by one model, which keeps keys and values between them.

    Args:
        model: the language model.
        reuse_prefix: keep the prefix that consecutive prompts share; off only to measure its benefit.

    Attributes:
        tree: of the sequences of a single query (`rerankers.pe_rank.look_ahead`); None where no prefix is
            kept.
    """

    def __init__(self, model: PassageLLM, *, reuse_prefix: bool = True) -> None:
        self.model = model
        self.cache = model.new_window_cache()
        self.prefix = CachedPrefix(self.cache, is_reused=reuse_prefix)
        self.tree = TokenTree(model) if reuse_prefix else None

    @torch.inference_mode()
    def prefill(
        self, prompts: Sequence[Prompt], projected: torch.Tensor, same: torch.Tensor | None = None
    ) -> Batch:
        """Run the prompts of windows with the same number of passages, and return them as a batch.

        Args:
            prompts: one a row.
            projected: the passages in the input space, (rows, n, dimension).
            same: see `Batch`.

        Raises:
            ModelError: a prompt is longer than the model's context.
        """
        self.check_length(prompts, projected.shape[1])
        layout, device = Layout.of(prompts), self.model.device
        shared = self._run_shared(layout.ids)
        kept = self.prefix.reuse(layout.ids)
        real = None if layout.is_real.all() else to_device(torch.from_numpy(layout.is_real), device)
        hidden = self._run(layout, projected, real, kept)
        self.prefix.hold(layout.ids)
        kept_tokens = layout.is_real[:, :kept].sum(axis=1)
        kept_tokens[0] -= shared  # the first row pays for what all share
        return Batch(
            projected=projected,
            hidden=hidden,
            real=real,
            lengths=to_device(torch.from_numpy(layout.lengths[:, None]), device),
            columns=layout.ids.shape[1],
            same=same,
            passes=1,
            run_tokens=(layout.lengths - kept_tokens).tolist(),
            kept_tokens=kept_tokens.tolist(),
        )

    def check_length(self, prompts: Sequence[Prompt], count: int) -> None:
        """Refuse prompts that, with `count` passages decoded behind them, exceed the model's context.

        Raises:
            ModelError: one does.
        """
        longest = max(len(prompt.token_ids) for prompt in prompts) + count
        if longest > self.model.context:
            raise ModelError(
                f"a window of {count} passages needs {longest} tokens, the model reads {self.model.context}; "
                "choose a smaller window or leave the passages' text out"
            )

    def _run_shared(self, ids: npt.NDArray[np.int64]) -> int:
        """Run the columns that all rows share, as one row, if none of them is cached, and return their
        number.

        Args:
            ids: token ids of the batch, (rows, columns).
        """
        shared = self.prefix.unshared(ids)
        count = int(shared.shape[1])
        if count:
            tokens = to_device(torch.from_numpy(shared), self.model.device)
            positions = torch.arange(count, device=self.model.device)[None]
            self.prefix.clear()
            self.model.forward(self.model.embed(tokens), positions, self.cache)
            self.prefix.hold(shared)
        return count

    def _run(
        self, layout: Layout, projected: torch.Tensor, real: torch.Tensor | None, kept: int
    ) -> torch.Tensor:
        """Run all columns of prompts but the first `kept`, and return each row's last hidden state, (rows,
        dimension).

        Args:
            layout: the prompts.
            projected: the passages in the input space, (rows, n, dimension).
            real: True where a column is not padding; None if there is no padding.
            kept: leading columns that are in the cache.
        """
        device, columns = self.model.device, layout.ids.shape[1]
        tokens = to_device(torch.from_numpy(layout.ids[:, kept:].clip(0)), device)
        row_of, column_of = np.nonzero(layout.ids == PASSAGE)
        where = to_device(torch.from_numpy(np.stack([row_of, column_of - kept])), device)
        passages = projected.reshape(-1, projected.shape[2])
        inputs = self.model.embed(tokens).index_put((where[0], where[1]), passages)
        mask = self.causal_mask(real, columns - kept, kept, columns)
        positions = to_device(torch.from_numpy(layout.positions[:, kept:]), device)
        parts = self._parts(*tokens.shape)
        return torch.cat([self._last(inputs, positions, mask, part, kept) for part in parts])

    @torch.inference_mode()
    def steps(self, batch: Batch, depth: int) -> torch.Tensor:
        """Return the first `depth` ranks of every row as passage positions, (rows, depth).

        Each rank after the first takes a forward pass of its own.
        """
        rows = len(batch.projected)
        taken = torch.zeros(batch.projected.shape[:2], dtype=torch.bool, device=self.model.device)
        row = torch.arange(rows, device=self.model.device)
        hidden, places = batch.hidden[:, None], []
        while True:
            scores = batch.scores(hidden)[:, 0].masked_fill(taken, -torch.inf)
            places.append(scores.argmax(dim=1))
            if len(places) == depth:
                return torch.stack(places, dim=1)
            taken = taken.scatter(1, places[-1][:, None], True)
            inputs = batch.projected[row, places[-1]][:, None]  # (rows, 1, dimension)
            hidden = self.follow(batch, inputs, len(places) - 1)

    def follow(self, batch: Batch, inputs: torch.Tensor, placed: int) -> torch.Tensor:
        """Return the hidden states, (rows, q, dimension), of q passages appended to the prompt and earlier
        passages.

        Keys and values of the prompt and of the first `placed` passages must be in the cache.

        Args:
            batch: the windows.
            inputs: the passages in the input space, (rows, q, dimension).
            placed: the number of passages before them.
        """
        count = inputs.shape[1]
        start = batch.columns + placed
        self.cache.set_length(start)
        offsets = torch.arange(placed, placed + count, device=self.model.device)
        mask = self.causal_mask(batch.real, count, start, start + count)
        batch.passes += 1
        return self.model.forward(inputs, batch.lengths + offsets, self.cache, mask)

    def causal_mask(
        self, real: torch.Tensor | None, queries: int, start: int, end: int
    ) -> torch.Tensor | None:
        """Return the causal attention mask of columns start..end-1, with padding masked.

        Args:
            real: True where a column is not padding; None if there is no padding.
            queries: columns to run.
            start: columns in the cache.
            end: columns in all.

        Returns:
            (rows or 1, 1, queries, end), True where a query may look; None if plain causal attention does.
        """
        if real is None and (queries == 1 or start == 0 or self.model.attention == "flash_attention_2"):
            return None
        device = self.model.device
        own = torch.arange(start, end, device=device)[:, None]
        keys = torch.arange(end, device=device)[None]
        mask = (keys <= own)[None]  # (1, queries, end)
        if real is not None:
            after = torch.ones(len(real), max(0, end - real.shape[1]), dtype=torch.bool, device=device)
            columns = torch.cat([real[:, :end], after], dim=1)
            mask = (mask & columns[:, None]) | (keys == own)[None]  # padding looks at itself: no empty rows
        return mask[:, None]

    def _parts(self, rows: int, columns: int) -> list[slice]:
        """Return slices of rows that run together: all rows, or on a CPU as many as its caches hold."""
        size = rows if self.model.device.type != "cpu" else max(1, _CPU_TOKENS // columns)
        return [slice(start, start + size) for start in range(0, rows, size)]

    def _last(
        self, inputs: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor | None, part: slice, kept: int
    ) -> torch.Tensor:
        """Run some rows after the first `kept` columns, and return their last hidden state, (rows,
        dimension).

        Args:
            inputs: embeddings of all rows, (rows, columns - kept, dimension).
            positions: of the same columns.
            mask: the attention mask of all rows; None for plain causal attention.
            part: the rows.
            kept: columns that are in the cache.
        """
        self.cache.set_length(kept)
        if mask is not None and len(mask) > 1:
            mask = mask[part]
        with self.cache.only(part, len(inputs)):
            return self.model.forward(inputs[part], positions[part], self.cache, mask)[:, -1]
