"""Prefill of a batch of prompts whose shared prefix is read once, and kept for the next batch.

Layout of a batch: the shared prefix, padding, the rest of each prompt. Attention skips padding, and positions
count tokens only, so every row sees what it would see alone. Models that do not honour both read their
prompts one by one (`rerankers.llm.exactness`).
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any

import torch

from rerankers.llm.exactness import CACHE_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.llm.causal import CausalLM


class Read:
    """A batch of prompts that the model has read, and its next tokens; it is extended step by step.

    Attributes:
        tokens: the most probable next token of each row, (rows,).
        logits: of the next token of each row, (rows, vocabulary).
        reused: tokens of each row that came from a cache.
        cache: keys and values of all tokens so far.
    """

    def __init__(
        self, llm: CausalLM, logits: torch.Tensor, reused: list[int], cache: Any, mask: torch.Tensor | None
    ) -> None:
        self.logits = logits
        self.tokens = logits.argmax(-1)
        self.reused = reused
        self.cache = cache
        self._llm = llm
        self._mask = mask  # (rows, tokens so far), 1 where there is a token; None without padding

    def select(self, places: list[int]) -> None:
        """Drop all rows but those at these places."""
        kept = torch.tensor(places, device=self.tokens.device)
        self.tokens = self.tokens[kept]
        self.logits = self.logits[kept]
        self.cache = self._llm.passes.select(self.cache, kept)
        if self._mask is not None:
            self._mask = self._mask[kept]

    def step(self) -> None:
        """Append the most probable next token to each row, run it, and set the tokens and logits after it."""
        if self._mask is not None:
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._mask), 1)], dim=1)
        logits, self.cache = self._llm.passes.run(self.tokens[:, None], self.cache, self._mask)
        self.logits = logits[:, -1]
        self.tokens = self.logits.argmax(-1)


class ReadAlone(Read):
    """A single prompt that the model has read, for models with a cache of their own form, or without one.

    Without a cache, all tokens are read again for each next token.
    """

    def __init__(self, llm: CausalLM, prompt: list[int]) -> None:
        self._name = llm.exactness.cache_name
        self._ids = torch.tensor([prompt], device=llm.device)  # (1, tokens so far)
        self.cache = None
        self._llm = llm
        self._go_on(self._ids)
        super().__init__(llm, self.logits, [0], self.cache, None)

    def select(self, places: list[int]) -> None:
        """Do nothing: there is only one row."""

    def step(self) -> None:
        """Append the most probable next token and run it, or without a cache all tokens so far."""
        self._ids = torch.cat([self._ids, self.tokens[:, None]], dim=1)
        self._go_on(self._ids if self._name is None else self.tokens[:, None])

    def _go_on(self, ids: torch.Tensor) -> None:
        """Run token ids, (1, n), after the cache, and set cache, logits and next token."""
        past = {} if self._name is None else {self._name: self.cache}
        output = self._llm.model(input_ids=ids, use_cache=self._name is not None, logits_to_keep=1, **past)
        self.cache = None if self._name is None else output[self._name]
        self.logits = output.logits[:, -1]
        self.tokens = self.logits.argmax(-1)


class SharedPrefix:
    """The cached keys and values of a prefix that the next prompts may share.

    Models whose caches drop tokens (sliding windows, linear attention) read every prompt whole.

    Args:
        llm: the model.
    """

    def __init__(self, llm: CausalLM) -> None:
        self._llm = llm
        self._tokens: list[int] = []
        self._cache: Any = None  # of `_tokens`, one row
        self._keeps = llm.exactness.shares

    def read(self, prompts: Sequence[list[int]]) -> Read:
        """Return prompts as the model has read them; at least one token of each is run anew.

        A batch of several prompts is exact only where `llm.exactness.decodes`.

        Args:
            prompts: token ids.
        """
        if len(prompts) == 1 and self._llm.exactness.cache_name != CACHE_NAMES[0]:
            return ReadAlone(self._llm, prompts[0])
        shared = _common([*prompts, self._tokens] if len(prompts) == 1 else prompts)
        shared = shared[: min(map(len, prompts)) - 1] if self._keeps else []
        common = len(_common([shared, self._tokens]))
        self._forget_after(common)
        if len(prompts) == 1:
            return self._read_one(prompts[0], common)
        if shared[common:]:
            self._read_one(shared, common)
            self._tokens = shared
            self._forget_unless_whole()
        shared = shared if self._keeps else []
        return self._read_rest(prompts, len(shared), common)

    def keep(self, tokens: list[int], read: Read) -> None:
        """Keep the cache of a single prompt and its decoded tokens for later prompts.

        Args:
            tokens: all token ids that the cache holds.
            read: the prompt as read.
        """
        if isinstance(read, ReadAlone):
            return
        self._tokens, self._cache = tokens, read.cache
        self._forget_unless_whole()

    def _read_one(self, prompt: list[int], common: int) -> Read:
        """Return one prompt as read, its first `common` tokens from the cache."""
        rest = torch.tensor([prompt[common:]], device=self._llm.device)  # (1, tokens not read yet)
        logits, self._cache = self._llm.passes.run(rest, self._cache)
        return Read(self._llm, logits[:, -1], [common], self._cache, None)

    def _read_rest(self, prompts: Sequence[list[int]], shared: int, common: int) -> Read:
        """Return a batch of prompts as read behind their shared prefix, padded after it.

        Args:
            prompts: token ids.
            shared: tokens of the prefix, all in the cache.
            common: those of them that were in the cache before this call.
        """
        rest = [prompt[shared:] for prompt in prompts]
        width = max(map(len, rest))
        padding = self._llm.tokenizer.pad_token_id
        ids = torch.tensor([[padding] * (width - len(row)) + row for row in rest], device=self._llm.device)
        cache = self._llm.passes.spread(self._cache, len(prompts)) if shared else None
        mask: torch.Tensor | None = None
        if any(len(row) < width for row in rest):
            ones = [[1] * shared + [0] * (width - len(row)) + [1] * len(row) for row in rest]
            mask = torch.tensor(ones, device=self._llm.device)  # (rows, shared + width)
        logits, cache = self._llm.passes.run(ids, cache, mask)
        reused = [common] + [shared] * (len(prompts) - 1)  # the first row pays for what all share
        return Read(self._llm, logits[:, -1], reused, cache, mask)

    def _forget_after(self, count: int) -> None:
        """Cut the cache to its first `count` tokens."""
        if count == 0:
            self._cache = None
        elif count < len(self._tokens):
            self._cache = self._llm.passes.crop(self._cache, count)
        self._tokens = self._tokens[:count]

    def _forget_unless_whole(self) -> None:
        """Empty the cache, and stop sharing, if it does not hold every token and so cannot be cropped."""
        if not self._llm.passes.can_crop(self._cache):
            self._keeps = False
            self._forget_after(0)


def _common(sequences: Sequence[list[int]]) -> list[int]:
    """Return the longest list of tokens that all sequences begin with."""
    columns = takewhile(lambda column: len(set(column)) == 1, zip(*sequences, strict=False))
    return [column[0] for column in columns]
