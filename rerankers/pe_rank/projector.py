"""The projector: passage embeddings into the language model's input space (arXiv 2406.14848, section 3.1).

`mlp2x_gelu` is Linear(encoder, llm), exact GELU, Linear(llm, llm), with biases and no normalisation.
`linear`, `identity` and `mlpNx_gelu` are the other kinds in the released code.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from torch import nn

from rerankers.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MLP = re.compile(r"mlp([1-9][0-9]?)x_gelu")  # a kind comes from a file, so not of any depth


def build_projector(kind: str, encoder_dimension: int, llm_dimension: int) -> nn.Module:
    """Return a projector with torch's own random weights.

    Args:
        kind: such as `mlp2x_gelu`.
        encoder_dimension: of its input.
        llm_dimension: of its output.

    Raises:
        ModelError: the kind is unknown, or `identity` would have to change the dimension.
    """
    if kind == "linear":
        return nn.Sequential(nn.Linear(encoder_dimension, llm_dimension))
    if kind == "identity":
        if encoder_dimension != llm_dimension:
            raise ModelError(
                f"projector 'identity' cannot take {encoder_dimension} dimensions to {llm_dimension}"
            )
        return nn.Sequential(nn.Identity())
    parsed = _MLP.fullmatch(kind)
    if parsed is None:
        raise ModelError(f"unknown projector {kind!r}; known: linear, identity, mlp2x_gelu, mlpNx_gelu")
    layers: list[nn.Module] = [nn.Linear(encoder_dimension, llm_dimension)]
    for _ in range(int(parsed[1]) - 1):
        layers += [nn.GELU(), nn.Linear(llm_dimension, llm_dimension)]
    return nn.Sequential(*layers)


def load_projector(kind: str, weights: Mapping[str, torch.Tensor], where: str) -> nn.Module:
    """Return a projector with trained weights.

    Args:
        kind: such as `mlp2x_gelu`.
        weights: by name; names may carry any prefix up to `projector.`.
        where: the checkpoint's name, for errors.

    Raises:
        ModelError: the kind is unknown, or a weight is missing, surplus, of the wrong shape, or not finite.
    """
    plain = {name.rpartition("projector.")[2]: weight for name, weight in weights.items()}
    if len(plain) < len(weights):
        raise ModelError(f"{where} holds two projectors: {', '.join(sorted(weights)[:4])}. Keep one of them.")
    broken = next((name for name, weight in plain.items() if not torch.isfinite(weight).all()), None)
    if broken is not None:
        raise ModelError(f"{where}: the projector's {broken} is not finite. Download or train it again.")
    if kind == "linear":  # the released code has a bare Linear here: `weight`, `bias`
        plain = {name if name.startswith("0.") else f"0.{name}": weight for name, weight in plain.items()}
    matrices = {name: weight for name, weight in plain.items() if name.endswith("weight")}
    if not matrices and kind != "identity":
        raise ModelError(f"{where} holds no projector weights")
    first = matrices.get("0.weight")
    shape = (0, 0) if first is None else (first.shape[1], first.shape[0])
    try:
        projector = build_projector(kind, *shape)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error
    try:
        projector.load_state_dict(plain)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"the projector of {where} is no {kind}: {reason}") from error
    return projector


def input_dimension(projector: nn.Module) -> int | None:
    """Return the dimension of the vectors that a projector takes; None if it takes any."""
    return next((weight.shape[1] for weight in projector.parameters() if weight.ndim == 2), None)


def output_dimension(projector: nn.Module) -> int | None:
    """Return the dimension of the vectors that a projector returns; None if it is that of its input."""
    return next((len(weight) for weight in reversed(list(projector.parameters())) if weight.ndim == 2), None)


@torch.no_grad()
def untrained_projector(
    encoder_dimension: int,
    token_embeddings: torch.Tensor,
    seed: int = 0,
    kind: str = "mlp2x_gelu",
    scale: float = 1.0,
) -> nn.Module:
    """Return a projector with random weights, whose outputs are about as long as token embeddings.

    The first layer has unit variance, so that unit vectors reach the GELU's curved part.

    Args:
        encoder_dimension: of its input.
        token_embeddings: the language model's, (vocabulary, dimension).
        seed: of the random weights.
        kind: such as `mlp2x_gelu`.
        scale: length of outputs in mean lengths of token embeddings.
    """
    llm_dimension = token_embeddings.shape[1]
    random = torch.Generator().manual_seed(seed)
    projector = build_projector(kind, encoder_dimension, llm_dimension)
    if kind == "identity":
        return projector
    for name, weight in projector.named_parameters():
        weight.zero_() if name.endswith("bias") else weight.normal_(generator=random)
    sample = torch.randn(256, encoder_dimension, generator=random)
    lengths = projector(sample / sample.norm(dim=1, keepdim=True)).norm(dim=1)
    target = token_embeddings[:4096].float().norm(dim=1).mean().cpu()
    last = [weight for name, weight in projector.named_parameters() if name.endswith("weight")][-1]
    last.mul_(scale * target / lengths.mean())
    return projector
