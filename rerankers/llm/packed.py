"""Prompts that share a beginning, packed into one row without padding, for models with plain attention.

A packed row is `beginning, ending, ending, ...`, or the endings alone behind a cache of the beginning. Each
ending continues the beginning at the same positions and sees no other ending. On a CPU this costs less than
padded rows: nothing is computed for padding, and the beginning's keys are not copied for each row. On a GPU
padded rows are cheaper than many small attention calls.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from rerankers.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NAME = "rerankbench_packed"


@dataclass
class Packed:
    """The layout of a packed row.

    Attributes:
        beginning: tokens that all endings continue; 0 for prompts that share none.
        endings: tokens of each ending.
        last_layer: the layer in which the pass ends, once the attention of all endings is noted.
    """

    beginning: int
    endings: Sequence[int]
    last_layer: int | None = field(default=None, init=False)

    def positions(self, *, is_cached: bool) -> list[int]:
        """Return the position of each token of the row; the beginning's are left out where it is cached."""
        positions = [] if is_cached else [*range(self.beginning)]
        for length in self.endings:
            positions += range(self.beginning, self.beginning + length)
        return positions

    def note(self, module: Any, ending: int, rows: torch.Tensor, keys: torch.Tensor, scaling: float) -> None:
        """Receive the queries and keys of one ending in one attention layer; a subclass may record them.

        Args:
            module: the attention layer.
            ending: number of the ending.
            rows: its queries, (1, heads, ending, width).
            keys: all keys that it may see, (1, heads, beginning + ending, width).
            scaling: factor of the products of queries and keys.
        """


class PassEnded(Exception):  # noqa: N818 - not an error
    """A signal that ends a forward pass whose output is not needed."""


@contextmanager
def packing(model: Any) -> Iterator[None]:
    """Let a model of transformers read packed rows inside the `with` block.

    Other rows are read as by sdpa.
    """
    ALL_ATTENTION_FUNCTIONS.register(_NAME, _attend)
    config = model.get_decoder().config
    before = config._attn_implementation
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def visible(beginning: int, ending: int, device: torch.device) -> torch.Tensor:
    """Return the attention mask of an ending: whether each of its tokens sees each key.

    Args:
        beginning: tokens that all of them see.
        ending: tokens of the ending.
        device: the device of the mask.

    Returns:
        (ending, beginning + ending), True where a key is seen.
    """
    return torch.ones(ending, beginning + ending, dtype=torch.bool, device=device).tril(beginning)


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    *,
    scaling: float,
    packed: Packed | None = None,
    softcap: float | None = None,
    s_aux: Any = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention output of a row, (1, tokens, heads, width), and no weights.

    It has the form of transformers' attention functions.

    Args:
        module: the attention layer.
        query: of the row, (1, heads, tokens, width).
        key, value: of the row, behind those of the cache if there is one; fewer heads where they are grouped.
        attention_mask: None; `packed` determines the keys that each token sees.
        scaling: factor of the products of queries and keys.
        packed: the row; None for one prompt that is not packed.
        softcap, s_aux: of attention of other kinds.

    Raises:
        ModelError: the attention is of such a kind, or takes a mask.
        PassEnded: this is the last layer that the row needs.
    """
    if softcap is not None or s_aux is not None or attention_mask is not None:
        raise ModelError("this kind of attention is not read: it caps its logits, has sinks, or takes a mask")
    groups = query.shape[1] // key.shape[1]
    keys, values = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    if packed is None:
        return _behind(query, keys, values, key.shape[2] - query.shape[2], scaling).transpose(1, 2), None
    cut = packed.beginning
    cached = key.shape[2] - query.shape[2]  # the beginning's tokens, or none
    outputs = []
    ends_here = packed.last_layer is not None and packed.last_layer == module.layer_idx
    if cut > cached and not ends_here:
        outputs.append(_behind(query[:, :, :cut], keys[:, :, :cut], values[:, :, :cut], 0, scaling))
    start = cut
    for ending, length in enumerate(packed.endings):
        segment = slice(start, start + length)
        rows = query[:, :, segment.start - cached : segment.stop - cached]
        seen_keys = torch.cat([keys[:, :, :cut], keys[:, :, segment]], dim=2)
        packed.note(module, ending, rows, seen_keys, scaling)
        start += length
        if ends_here:
            continue
        seen_values = torch.cat([values[:, :, :cut], values[:, :, segment]], dim=2)
        outputs.append(_behind(rows, seen_keys, seen_values, cut, scaling))
    if ends_here:
        raise PassEnded
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def _behind(
    rows: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, before: int, scaling: float
) -> torch.Tensor:
    """Return causal attention of queries after `before` tokens that all of them see, (1, heads, tokens,
    width).

    Args:
        rows: queries, (1, heads, tokens, width).
        keys, values: of the earlier tokens and the queries' own.
        before: the number of earlier tokens.
        scaling: factor of the products of queries and keys.
    """
    mask = visible(before, rows.shape[2], rows.device) if before else None
    return scaled_dot_product_attention(
        rows, keys, values, attn_mask=mask, is_causal=mask is None, scale=scaling
    )
