"""Projectors are told by their names in released configs; weights of another one are refused."""

from __future__ import annotations

import pytest
import torch

from rerankers.errors import ModelError
from rerankers.pe_rank.projector import build_projector, load_projector, untrained_projector


@pytest.mark.parametrize(
    ("kind", "layers"),
    [("linear", 1), ("mlp1x_gelu", 1), ("mlp2x_gelu", 3), ("mlp3x_gelu", 5), ("identity", 1)],
)
def test_a_name_tells_the_layers(kind: str, layers: int) -> None:
    assert len(list(build_projector(kind, 4, 4).children())) == layers


def test_the_bare_linear_layer_of_the_released_code_is_read() -> None:
    weights = {
        "model.projector.weight": torch.ones(3, 2),
        "model.projector.bias": torch.tensor([0.0, 1.0, 2.0]),
    }
    projector = load_projector("linear", weights, "here")
    assert projector(torch.ones(1, 2)).tolist() == [[2.0, 3.0, 4.0]]


def test_an_identity_has_nothing_to_learn_and_changes_no_vector() -> None:
    vectors = torch.tensor([[0.6, 0.8]])
    assert torch.equal(untrained_projector(2, torch.ones(5, 2), kind="identity")(vectors), vectors)
    assert torch.equal(load_projector("identity", {}, "here")(vectors), vectors)
    with pytest.raises(ModelError, match="'identity' cannot take 2 dimensions to 3"):
        build_projector("identity", 2, 3)


@pytest.mark.parametrize(
    ("kind", "weights", "says"),
    [
        (
            "mlp2x_relu",
            {"0.weight": torch.ones(3, 2)},
            "unknown projector 'mlp2x_relu'; known: linear, identity",
        ),
        ("mlp2x_gelu", {"0.bias": torch.ones(3)}, "here holds no projector weights"),
        ("mlp2x_gelu", {"0.weight": torch.ones(3, 2)}, "the projector of here is no mlp2x_gelu: .*Missing"),
        ("mlp999999999x_gelu", {"0.weight": torch.ones(3, 2)}, "unknown projector 'mlp999999999x_gelu'"),
        (
            "linear",
            {"a.projector.weight": torch.ones(3, 2), "b.projector.weight": torch.zeros(3, 2)},
            "here holds two projectors",
        ),
        (
            "linear",
            {"weight": torch.ones(3, 2), "bias": torch.tensor([0.0, float("nan"), 1.0])},
            "the projector's bias is not finite",
        ),
    ],
)
def test_weights_that_are_no_such_projector_are_refused(
    kind: str, weights: dict[str, torch.Tensor], says: str
) -> None:
    with pytest.raises(ModelError, match=says):
        load_projector(kind, weights, "here")
