"""Packed linear layers give torch's outputs, and their operations are counted as torch's are."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model

from benchmarks.measuring.operations import CountingClock
from rerankers.models.layers.packed_linear import PackedLinear, pack_linear_layers

if TYPE_CHECKING:
    from collections.abc import Callable

is_available: Callable[[], bool] = torch.backends.mkldnn.is_available
pytestmark = pytest.mark.skipif(not is_available(), reason="this build of torch lacks oneDNN")
LAYERS, LINEAR = 2, 6  # query, key, value, attention output, intermediate, output
SIZES: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": LAYERS}


def network(activation: str = "gelu", dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=50, num_attention_heads=4, hidden_act=activation, **SIZES)
    model: Any = BertModel(config, add_pooling_layer=False)
    return model.to(dtype).eval()


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_a_packed_network_gives_the_outputs_of_torch(activation: str) -> None:
    plain = network(activation)
    packed = copy.deepcopy(plain)
    assert pack_linear_layers(packed) == LAYERS * LINEAR
    ids, mask = torch.randint(50, (3, 7)), torch.ones(3, 7, dtype=torch.long)
    mask[1, 4:] = 0
    with torch.inference_mode():
        expected = plain(input_ids=ids, attention_mask=mask).last_hidden_state[mask.bool()]
        outputs = packed(input_ids=ids, attention_mask=mask).last_hidden_state[mask.bool()]
    assert torch.allclose(outputs, expected, atol=1e-5, rtol=0)


def test_operations_are_counted_as_those_of_torch() -> None:
    plain = network()
    packed = copy.deepcopy(plain)
    pack_linear_layers(packed)
    counts = []
    for each in (plain, packed):
        clock = CountingClock()
        with torch.inference_mode(), clock.stage("forward"):
            each(input_ids=torch.randint(50, (3, 7)))
        counts.append(clock)
    assert counts[0].flops == counts[1].flops
    assert 0 < counts[1].bytes["forward"] <= counts[0].bytes["forward"]


def test_other_networks_stay_as_they_are() -> None:
    other = GPT2Model(GPT2Config(vocab_size=50, n_embd=32, n_layer=1, n_head=4))
    for each in (network(dtype=torch.bfloat16), other, nn.Linear(3, 3)):
        assert pack_linear_layers(each) == 0
        assert not any(isinstance(module, PackedLinear) for module in each.modules())
