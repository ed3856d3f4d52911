"""Tests of the ways in which a causal LM may read several prompts together, each tried once.

Batches are fast because prompts share a prefix that is prefilled once, and because rows of unequal length are
padded. Both are exact for a transformer that honours its attention mask and its positions. They are not for a
model with a recurrent state, or for one whose position bias counts padding. A model's name does not tell, so
a trial reads short prompts alone and together and compares the logits.
"""

from __future__ import annotations

import copy
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import DynamicLayer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CACHE_NAMES = ("past_key_values", "cache_params", "state")
"""The argument names of the cache that models return and take; recurrent models have names of their own."""

_TOLERANCE = {
    torch.float32: 1e-3,
    torch.float16: 0.05,
}  # of the logits' spread; half precision rounds by shape
_HALF_TOLERANCE = 0.1
_WAYS = {"pads": "padded rows", "shares": "shared prefixes", "decodes": "decoding in batches"}
_TEXT = (
    "Every spring the lighthouse keeper counts the ships that pass the northern reef, writes their names "
    "into a book of blue paper, and reads them aloud to the bees, which do not care but like his voice."
)


class Exactness:
    """The ways of reading prompts together that give each prompt the logits that it has alone.

    Each is tried when its attribute is first read.

    Args:
        model: a causal LM of transformers with its whole vocabulary.
        tokenizer: its tokenizer.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._trial = Trial(model, tokenizer)

    @cached_property
    def pads(self) -> bool:
        """True if rows of unequal length may be padded on the right."""
        return self._trial.gives_the_same(self._trial.padded)

    @cached_property
    def shares(self) -> bool:
        """True if several rows, padded on the right, may continue a prefix that was prefilled once."""
        return self._trial.gives_the_same(self._trial.shared)

    @cached_property
    def packs(self) -> bool:
        """True if several prompts may stand in one row without padding; see `rerankers.llm.packed`."""
        return self.shares and self._trial.gives_the_same(self._trial.packed)

    @cached_property
    def decodes(self) -> bool:
        """True if rows of unequal length, padded on the left, may decode together."""
        return self._trial.gives_the_same(self._trial.decoded)

    @cached_property
    def cache_name(self) -> str | None:
        """The argument name of the model's cache; None where a cache cannot be continued exactly."""
        for name in CACHE_NAMES:
            if self._trial.gives_the_same(partial(self._trial.continued, name)):
                return name
        return None

    def describe(self, *ways: str) -> dict[str, object]:
        """Return the record's entry on ways of reading that are not used because they change logits; empty if
        none.

        Packed rows are only faster than padded ones, and are not listed.

        Args:
            ways: names of attributes, such as `pads`; each is tried.
        """
        inexact = [_WAYS[way] for way in ways if not getattr(self, way) and way in _WAYS]
        return {"reading": f"without {' and '.join(inexact)}, which would change logits"} if inexact else {}


class Trial:
    """Three prompts with one prefix and very different lengths, and the logits that a model gives them.

    Each way to read them returns the logits after each prompt, (prompts, vocabulary).

    Args:
        model: a causal LM of transformers.
        tokenizer: its tokenizer.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model
        self._device = model.device
        self._padding: int = tokenizer.pad_token_id or 0
        ids: list[int] = tokenizer(_TEXT, add_special_tokens=False)["input_ids"]
        self._prefix, rest = ids[:12], ids[12:]
        self._rests = [rest[:2], rest[2:], rest[1:9]]
        self._alone: torch.Tensor | None = None

    @torch.inference_mode()
    def gives_the_same(self, read: Callable[[], torch.Tensor]) -> bool:
        """Return whether a way to read gives the logits that each prompt has alone; false if it fails.

        Args:
            read: returns logits, (prompts, vocabulary).
        """
        try:
            return is_alike(read(), self._read_alone())
        except Exception:
            return False

    def padded(self) -> torch.Tensor:
        """Return the logits after each prompt, all read in one pass, padded on the right, without a mask."""
        rows = [self._prefix + rest for rest in self._rests]
        logits = self._model(input_ids=self._rows(rows), use_cache=False).logits
        return torch.stack([logits[i, len(row) - 1] for i, row in enumerate(rows)])

    def shared(self) -> torch.Tensor:
        """Return the logits after each prompt, the prefix read once and all prompts behind it in one
        padded pass.
        """
        cache = copy.deepcopy(self._cache_of([self._prefix]))
        cache.batch_repeat_interleave(len(self._rests))
        logits = self._model(input_ids=self._rows(self._rests), past_key_values=cache, use_cache=True).logits
        return torch.stack([logits[i, len(rest) - 1] for i, rest in enumerate(self._rests)])

    def packed(self) -> torch.Tensor:
        """Return the logits after each prompt, the prefix read once and all prompts behind it in one row.

        Raises:
            NotImplementedError: layers are not plain attention, or the kernel is not sdpa.
        """
        from rerankers.llm.packed import Packed, packing

        config = self._model.get_decoder().config
        if config._attn_implementation != "sdpa" or set(config.layer_types) != {"full_attention"}:
            raise NotImplementedError
        with packing(self._model):
            cache = self._cache_of([self._prefix])
            packed = Packed(len(self._prefix), [len(rest) for rest in self._rests])
            logits: torch.Tensor = self._model(
                input_ids=self._rows([[token for rest in self._rests for token in rest]]),
                position_ids=torch.tensor([packed.positions(is_cached=True)], device=self._device),
                past_key_values=cache,
                use_cache=True,
                packed=packed,
            ).logits
        ends = torch.tensor(packed.endings).cumsum(0) - 1
        return logits[0, ends.to(self._device)]

    def decoded(self) -> torch.Tensor:
        """Return the logits after each prompt, its last token read in a pass of its own, as decoding does.

        Padding stands between the shared prefix and the rest of each prompt.
        """
        shared = self._prefix
        cache = self._cache_of([shared])
        if keeps_every_token(cache):
            cache = copy.deepcopy(cache)
            cache.batch_repeat_interleave(len(self._rests))
            rows = [rest[:-1] for rest in self._rests]
        else:
            cache, shared, rows = None, [], [self._prefix + rest[:-1] for rest in self._rests]
        width = max(map(len, rows))
        ones = [[1] * len(shared) + [0] * (width - len(row)) + [1] * len(row) for row in rows]
        mask = torch.tensor(ones, device=self._device)
        positions = (mask.cumsum(1) - 1)[:, len(shared) :].clamp(min=0)
        ids = torch.tensor([[self._padding] * (width - len(row)) + row for row in rows], device=self._device)
        output = self._model(
            input_ids=ids, past_key_values=cache, use_cache=True, attention_mask=mask, position_ids=positions
        )
        cache = output.past_key_values
        cache.batch_select_indices(torch.arange(len(rows), device=self._device))
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        logits: torch.Tensor = self._model(
            input_ids=torch.tensor([[rest[-1]] for rest in self._rests], device=self._device),
            past_key_values=cache,
            use_cache=True,
            attention_mask=mask,
            position_ids=mask.sum(1, keepdim=True) - 1,
        ).logits
        return logits[:, -1]

    def continued(self, name: str) -> torch.Tensor:
        """Return the logits after each prompt, its last token read in a second pass that continues the first.

        Args:
            name: the argument name of the cache.
        """
        logits = []
        for rest in self._rests:
            begun = self._model(input_ids=self._rows([self._prefix + rest[:-1]]), use_cache=True)
            cache = {name: begun[name]}
            logits.append(
                self._model(input_ids=self._rows([rest[-1:]]), use_cache=True, **cache).logits[0, -1]
            )
        return torch.stack(logits)

    def _cache_of(self, rows: Sequence[Sequence[int]]) -> Any:
        """Return the cache of a pass over rows of token ids."""
        return self._model(input_ids=self._rows(rows), use_cache=True).past_key_values

    def _rows(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return rows of token ids as a tensor padded on the right, (rows, longest)."""
        width = max(map(len, rows))
        padded = [[*row, *[self._padding] * (width - len(row))] for row in rows]
        return torch.tensor(padded, device=self._device)

    def _read_alone(self) -> torch.Tensor:
        """Return the logits after each prompt, read whole and alone, (prompts, vocabulary); computed once."""
        if self._alone is None:
            rows = [self._rows([self._prefix + rest]) for rest in self._rests]
            self._alone = torch.stack(
                [self._model(input_ids=row, use_cache=False).logits[0, -1] for row in rows]
            )
        return self._alone


def is_alike(batched: torch.Tensor, alone: torch.Tensor) -> bool:
    """Return whether two outputs differ by no more than rounding, relative to their spread over the last
    axis.

    Args:
        batched: the output to test.
        alone: the reference, of the same shape; its dtype sets the tolerance.
    """
    error = (batched.float() - alone.float()).square().mean(dim=-1).sqrt()
    spread = alone.float().std(dim=-1).clamp(min=1e-6)
    return bool((error / spread < _TOLERANCE.get(alone.dtype, _HALF_TOLERANCE)).all())


def keeps_every_token(cache: Any) -> bool:
    """Return whether a cache holds keys and values of every token, so that it can be cropped anywhere."""
    layers = getattr(cache, "layers", None)
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers or ())
