"""A last layer for the first token only gives what the whole layer gives there, for less work."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.modules import Pooling

from benchmarks.measuring.operations import CountingClock
from rerankers.models.layers.first_token import FirstTokenLayer, read_first_token_only
from rerankers.models.layers.packed_linear import pack_linear_layers

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, LAYERS, TEXTS, TOKENS = 32, 2, 3, 7
FAMILIES = ("Bert", "Camembert", "DistilBert", "Electra", "Roberta", "XLMRoberta")


class Network(torch.nn.Module):
    """The first module of a model of sentence-transformers, as far as it matters here."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model


def classifier(family: str, attention: str = "sdpa", **config: Any) -> Any:
    torch.manual_seed(0)
    shape = {"dim": WIDTH, "hidden_dim": 48, "n_heads": 4, "n_layers": LAYERS}
    if family != "DistilBert":
        shape = {"hidden_size": WIDTH, "intermediate_size": 48, "num_attention_heads": 4}
        shape["num_hidden_layers"] = LAYERS
    settings = getattr(transformers, f"{family}Config")(
        vocab_size=50, num_labels=1, initializer_range=0.4, attn_implementation=attention, **shape, **config
    )
    return getattr(transformers, f"{family}ForSequenceClassification")(settings).eval()


def texts() -> dict[str, torch.Tensor]:
    ids, mask = torch.randint(5, 50, (TEXTS, TOKENS)), torch.ones(TEXTS, TOKENS, dtype=torch.long)
    mask[1, 4:] = 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize(
    ("family", "attention"), [*((family, "sdpa") for family in FAMILIES), ("Bert", "eager")]
)
def test_scores_are_those_of_the_whole_layer(family: str, attention: str) -> None:
    whole = classifier(family, attention)
    with torch.inference_mode():
        for weight in whole.parameters():
            weight += torch.randn_like(weight) * 0.1  # biases are zeros at first
    short = copy.deepcopy(whole)
    assert read_first_token_only([Network(short)])
    pack_linear_layers(short)
    features = texts()
    alone = {name: value[:1] for name, value in features.items()}  # without padding there is no mask
    with torch.inference_mode():
        for each in (features, alone):
            expected = whole(**each).logits
            assert torch.allclose(short(**each).logits, expected, atol=1e-5, rtol=1e-5)


def test_the_work_of_the_last_layer_is_left_out() -> None:
    whole = classifier("Bert")
    short = copy.deepcopy(whole)
    read_first_token_only([Network(short)])
    flops = []
    for each in (whole, short):
        clock = CountingClock()
        with torch.inference_mode(), clock.stage("forward"):
            each(input_ids=torch.randint(50, (TEXTS, TOKENS)))
        flops.append(clock.flops["forward"])
    layer = TEXTS * TOKENS * 2 * (4 * WIDTH * WIDTH + 2 * WIDTH * 48)  # its linear layers
    assert layer / 2 < flops[0] - flops[1] < layer + layer / 4  # and its attention, for four wide heads


def embedding(pooling: str | tuple[str, ...], attention: str = "sdpa", **config: Any) -> list[Any]:
    modes: Any = pooling
    return [Network(classifier("Bert", attention, **config).base_model), Pooling(WIDTH, modes), Normalize()]


def generator() -> list[Any]:
    config = transformers.GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=1)
    return [Network(transformers.GPT2Model(config)), Pooling(8, "cls")]


@pytest.mark.parametrize(
    ("make", "is_replaced"),
    [
        (lambda: embedding("cls"), True),
        (lambda: embedding("mean"), False),
        (lambda: embedding(("cls", "mean")), False),
        (lambda: embedding("cls")[:1], False),  # whoever calls it may read any token
        (lambda: embedding("cls", "flex_attention"), False),  # its mask is no tensor
        (lambda: embedding("cls", output_hidden_states=True), False),
        (generator, False),
    ],
)
def test_a_layer_whose_other_tokens_are_read_stays_whole(make: Callable[[], Any], is_replaced: bool) -> None:
    modules = make()
    assert read_first_token_only(modules) == is_replaced
    replaced = [isinstance(module, FirstTokenLayer) for module in modules[0].modules()]
    assert any(replaced) == is_replaced
