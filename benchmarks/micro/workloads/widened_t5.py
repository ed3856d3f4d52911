"""A small T5 checkpoint widened to the shape of a larger one that gives the same answers.

Weights that are added are zero wherever they could reach the output: the new part of each vector stays zero,
new heads and new layers add nothing. So the network does all the arithmetic of its shape and writes what the
small one writes, token by token, which a network of random weights would not.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NORM = re.compile(r"layer_norm\.weight$")


def save_widened(source: Path, folder: Path, shape: Mapping[str, int], renamed: Mapping[str, str]) -> None:
    """Write a checkpoint of a larger shape with the answers of a small one.

    Args:
        source: the small checkpoint, with its tokenizer.
        folder: where the large one is written.
        shape: keys of `T5Config` and their new values, none smaller than before.
        renamed: patterns of weight names in the source, and what transformers calls them.
    """
    from safetensors.torch import load_file
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config.from_pretrained(source)
    heads = config.num_heads
    for key, value in shape.items():
        setattr(config, key, value)
    torch.manual_seed(0)
    network: Any = T5ForConditionalGeneration(config)
    stored = {
        _renamed(name, renamed): weight for name, weight in load_file(source / "model.safetensors").items()
    }
    if "lm_head.weight" in stored:  # not tied to the embeddings
        network.lm_head = torch.nn.Linear(config.d_model, config.vocab_size, bias=False)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            small = stored.get(name)
            if small is None:
                if name.endswith((".o.weight", ".wo.weight")):
                    weight.zero_()  # a new layer adds nothing to the residual stream
                continue
            _widen(name, weight, small, heads, config.d_kv)
    network.save_pretrained(folder)
    for path in source.iterdir():
        if "token" in path.name or path.name == "spiece.model":
            shutil.copy(path, folder / path.name)


def _renamed(name: str, renamed: Mapping[str, str]) -> str:
    """Return a weight's name after all replacements, which are given as a new text by regular expression."""
    for pattern, new in renamed.items():
        name = re.sub(pattern, new, name)
    return name


def _widen(name: str, weight: torch.Tensor, small: torch.Tensor, heads: int, head_size: int) -> None:
    """Fill a weight of the large network, in place, from its counterpart in the small one; the rest is zero.

    New rows of the token embeddings get the values of the first token.

    Args:
        name: name of the weight.
        weight: weight of the large network, changed in place.
        small: weight of the small network.
        heads: attention heads of the small network.
        head_size: `d_kv` of the large network.
    """
    weight.zero_()
    if _NORM.search(name):  # the mean square is taken over more values, all of the new ones zero
        weight[: len(small)] = small * (len(small) / len(weight)) ** 0.5
    elif re.search(r"\.[qkv]\.weight$", name):
        by_head = small.view(heads, -1, small.shape[1])
        weight.view(-1, head_size, weight.shape[1])[:heads, : by_head.shape[1], : small.shape[1]] = by_head
    elif name.endswith(".o.weight"):
        by_head = small.view(len(small), heads, -1)
        weight.view(len(weight), -1, head_size)[: len(small), :heads, : by_head.shape[2]] = by_head
    else:
        if name in ("shared.weight", "lm_head.weight"):  # new tokens score as the first one, which wins ties
            weight[:, : small.shape[1]] = small[0]
        weight[: len(small), : small.shape[1]] = small
