"""Forward passes of a causal LM over token ids behind a cache: transformers' own, or static ones.

A static pass (`rerankers.llm.static`) dispatches a third of the operations of transformers' own, and its keys
and values stay in buffers that grow in large steps. Both kinds take the same token ids and masks and return
the same logits up to rounding, of the last tokens alone if no others are needed.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch

from rerankers.errors import ModelError
from rerankers.llm.exactness import is_alike, keeps_every_token
from rerankers.llm.static.decoder import StaticDecoder
from rerankers.llm.static.packing import refusal

if TYPE_CHECKING:
    from rerankers.llm.static.buffers import KeyValueBuffers
    from rerankers.methods.loaded import PassMode

_TRIAL = 12  # tokens


class Passes(Protocol):
    """Forward passes of one kind, and what can be done with their caches.

    Attributes:
        are_static: whether they are static passes.
    """

    are_static: bool

    def run(
        self, ids: torch.Tensor, cache: Any, mask: torch.Tensor | None = None, *, keep: int = 1
    ) -> tuple[torch.Tensor, Any]:
        """Run tokens behind a cache, and return logits with the cache of all tokens so far.

        The given cache must not be used afterwards.

        Args:
            ids: token ids, (rows, n).
            cache: keys and values of earlier tokens, with as many rows; None for an empty one.
            mask: 1 where a row has a token, (rows, earlier columns + n); None for a token in each column.
                Positions count tokens only.
            keep: last columns whose logits are returned, (rows, keep, vocabulary); 0 for all columns.
        """

    def read_behind(self, ids: torch.Tensor, cache: Any) -> torch.Tensor:
        """Return the logits of all columns of rows that each follow a cache's only row, which stays as it is.

        Args:
            ids: token ids, (rows, n), padded on the right.
            cache: keys and values of one row; None for an empty one.

        Returns:
            (rows, n, vocabulary)
        """

    def select(self, cache: Any, rows: torch.Tensor) -> Any:
        """Return a cache of these rows alone, given by their numbers; `cache` must not be used afterwards."""

    def spread(self, cache: Any, rows: int) -> Any:
        """Return a cache of `rows` copies of a cache's only row; `cache` stays as it is."""

    def crop(self, cache: Any, count: int) -> Any:
        """Return the cache cut to its first `count` columns, at least one; `cache` must not be used
        afterwards.
        """

    def can_crop(self, cache: Any) -> bool:
        """Return whether a cache holds every token, so that it can be cropped and shared."""


class EagerPasses:
    """transformers' own forward passes, with its own caches.

    Args:
        model: a causal LM of transformers.
    """

    are_static = False

    def __init__(self, model: Any) -> None:
        self._model = model

    def run(
        self, ids: torch.Tensor, cache: Any, mask: torch.Tensor | None = None, *, keep: int = 1
    ) -> tuple[torch.Tensor, Any]:
        """See `Passes.run`."""
        padding = {}
        if mask is not None:
            padding = {"attention_mask": mask, "position_ids": _positions(mask, ids.shape[1])}
        output = self._model(
            input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=keep, **padding
        )
        return output.logits, output.past_key_values

    def read_behind(self, ids: torch.Tensor, cache: Any) -> torch.Tensor:
        """See `Passes.read_behind`."""
        if cache is not None:
            return self.run(ids, self.spread(cache, len(ids)), keep=0)[0]
        logits: torch.Tensor = self._model(input_ids=ids, use_cache=False).logits
        return logits

    def select(self, cache: Any, rows: torch.Tensor) -> Any:
        """See `Passes.select`."""
        cache.batch_select_indices(rows)
        return cache

    def spread(self, cache: Any, rows: int) -> Any:
        """See `Passes.spread`."""
        copied = copy.deepcopy(cache)
        copied.batch_repeat_interleave(rows)
        return copied

    def crop(self, cache: Any, count: int) -> Any:
        """See `Passes.crop`."""
        surplus = cache.get_seq_length() - count
        if surplus:
            cache.crop(-surplus)
        return cache

    def can_crop(self, cache: Any) -> bool:
        """See `Passes.can_crop`."""
        return keeps_every_token(cache)


class StaticCache(NamedTuple):
    """Keys and values of `rows` rows in buffers."""

    buffers: KeyValueBuffers
    rows: int


class StaticPasses:
    """Static passes of a model's decoder, with the model's own embeddings and vocabulary head.

    Args:
        model: a causal LM of transformers for which `refusal_of` returns None.
    """

    are_static = True

    def __init__(self, model: Any) -> None:
        self._model = model
        self._decoder = StaticDecoder(model.get_decoder())

    def run(
        self, ids: torch.Tensor, cache: Any, mask: torch.Tensor | None = None, *, keep: int = 1
    ) -> tuple[torch.Tensor, StaticCache]:
        """See `Passes.run`."""
        rows, count = ids.shape
        buffers = self._decoder.new_buffers() if cache is None else cache.buffers
        if mask is None:
            start = buffers.length
            positions, visible = torch.arange(start, start + count, device=ids.device)[None], None
        else:
            positions, visible = _positions(mask, count), _visible(mask, count)
        inputs = self._model.get_input_embeddings()(ids)
        hidden = self._decoder.forward(inputs, positions, buffers, visible)
        logits: torch.Tensor = self._model.get_output_embeddings()(hidden[:, -keep:])
        return logits, StaticCache(buffers, rows)

    def read_behind(self, ids: torch.Tensor, cache: StaticCache | None) -> torch.Tensor:
        """See `Passes.read_behind`."""
        return self.run(ids, None if cache is None else self.spread(cache, len(ids)), keep=0)[0]

    def select(self, cache: StaticCache, rows: torch.Tensor) -> StaticCache:
        """See `Passes.select`."""
        return self._copied(cache, rows, len(rows))

    def spread(self, cache: StaticCache, rows: int) -> StaticCache:
        """See `Passes.spread`."""
        return self._copied(cache, slice(1), rows)

    def crop(self, cache: StaticCache, count: int) -> StaticCache:
        """See `Passes.crop`."""
        cache.buffers.set_length(count)
        return cache

    def can_crop(self, cache: StaticCache) -> bool:
        """See `Passes.can_crop`."""
        return bool(cache.rows)

    def _copied(self, cache: StaticCache, source: torch.Tensor | slice, rows: int) -> StaticCache:
        """Return a cache of `rows` rows, copied from these rows of another; a single one is repeated."""
        copy_of = self._decoder.new_buffers()
        copy_of.append(rows, cache.buffers.length).copy_(cache.buffers.append(cache.rows, 0)[:, source])
        return StaticCache(copy_of, rows)


def refusal_of(model: Any) -> str | None:
    """Return the reason why a causal LM of transformers has no static passes, in a few words; None if it
    has.
    """
    decoder = model.get_decoder()
    reason = refusal(decoder)
    if reason is not None:
        return reason
    config = decoder.config
    if config._attn_implementation != "sdpa":
        return f"attention is {config._attn_implementation}, and static passes use sdpa"
    window = getattr(config, "sliding_window", None)
    slides = set(getattr(config, "layer_types", None) or ["sliding_attention"]) != {"full_attention"}
    if window and slides and window < config.max_position_embeddings:
        return f"attention slides over {window} tokens"
    return None


@torch.inference_mode()
def choose_passes(model: Any, mode: PassMode, name: str, *, decodes: bool) -> tuple[Passes, str]:
    """Return the forward passes that a mode names, and the record's entry on them.

    The entry is `static`; or `eager`, with the reason if `auto` did not choose static passes.

    Args:
        model: a causal LM of transformers; static passes pack its weights.
        mode: the mode.
        name: the model's name, for errors.
        decodes: whether the method decodes, token after token. If it only reads prompts, `auto` is `eager` on
            a CPU, where a pass of hundreds of tokens is bound by arithmetic.

    Raises:
        ModelError: static passes are asked for, and the model has none.
    """
    eager = EagerPasses(model)
    if mode == "eager":
        return eager, "eager"
    if mode == "auto" and not decodes and model.device.type == "cpu":
        return eager, "eager: prompts that are only read gain nothing on a CPU"
    reason = refusal_of(model)
    if reason is None:
        static = StaticPasses(model)
        ids = torch.arange(_TRIAL, device=model.device)[None] % model.get_input_embeddings().num_embeddings
        logits = [passes.run(ids, None, keep=0)[0] for passes in (static, eager)]
        if is_alike(*logits):
            return static, "static"
        reason = "its logits differ from those of transformers"
    if mode == "static":
        raise ModelError(f"{name!r} has no static passes: {reason}. Use 'forward_passes: auto'.")
    return eager, f"eager: {reason}"


def _positions(mask: torch.Tensor, count: int) -> torch.Tensor:
    """Return the positions of the last `count` columns of a mask (rows, columns): (rows, count)."""
    return (mask.cumsum(1) - 1)[:, -count:].clamp(min=0)


def _visible(mask: torch.Tensor, count: int) -> torch.Tensor:
    """Return whether each of the last `count` columns, as a query, looks at each column.

    Padding looks at itself, lest its states become NaN.

    Args:
        mask: 1 where a row has a token, (rows, columns).
        count: number of queries.

    Returns:
        (rows, 1, count, columns).
    """
    seen = mask.bool()[:, None, None]  # (rows, 1, 1, columns)
    if count == 1:
        return seen
    columns = mask.shape[1]
    earlier = torch.ones(count, columns, dtype=torch.bool, device=mask.device).tril(columns - count)
    return (seen & earlier) | (earlier & ~earlier.tril(columns - count - 1))
