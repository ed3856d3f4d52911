"""BGE layerwise against the published class's scores, and what this project adds to it.

`golden/bge_layerwise` holds a small random checkpoint and what FlagEmbedding makes of it.
"""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rerankers import RerankRequest, StageClock, create
from rerankers.errors import InputError, ModelError
from rerankers.pointwise.base import Pair

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parents[2] / "golden" / "bge_layerwise"
GOLDEN: dict[str, Any] = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))
CASES = {case["kind"]: case for case in GOLDEN["cases"]}
BY_LAYER = [(kind, layer) for kind, case in CASES.items() for layer in case["layers"]]
TOLERANCE = 1e-5


@cache
def layerwise(**options: Any) -> Any:
    return create("bge-layerwise", model=str(FOLDER), device="cpu", **options)


def published(case: dict[str, Any], layer: int) -> Any:
    prompt_option = {} if case["prompt"] is None else {"prompt": case["prompt"]}
    return layerwise(layer=layer, max_length=case["max_length"], control_tokens="control", **prompt_option)


@pytest.mark.parametrize(("kind", "layer"), BY_LAYER)
def test_scores_are_the_published_class_s(kind: str, layer: int, clock: StageClock) -> None:
    case = CASES[kind]
    request = RerankRequest.of(case["query"], {str(i): text for i, text in enumerate(case["passages"])})
    [ranking] = published(case, layer).rerank([request], clock)
    scores = dict(zip(map(int, ranking.doc_ids), ranking.scores, strict=True))
    in_order = torch.tensor([scores[i] for i in range(len(scores))])
    assert (in_order - torch.tensor(case["scores"][case["layers"].index(layer)])).abs().max() < TOLERANCE


@pytest.mark.parametrize("kind", CASES)
def test_prompts_are_the_published_class_s(kind: str) -> None:
    case = CASES[kind]
    pairs = [Pair(case["query"], passage) for passage in case["passages"]]
    written = published(case, case["layers"][0]).tokenize(pairs)
    assert sorted({tuple(ids) for _, ids in written.inputs}) == [tuple(ids) for ids in case["prompts"]]
    assert any(written.truncated) == (kind == "cut")


def test_all_layers_are_computed_unless_one_is_chosen(clock: StageClock) -> None:
    assert layerwise().describe()["layer"] == 5
    fewer, all_layers = (
        layerwise(**layer_option).describe()["parameters"] for layer_option in ({"layer": 2}, {})
    )
    assert fewer < all_layers


@pytest.mark.parametrize("layer", [1, 6])
def test_a_layer_without_a_head_is_refused(layer: int) -> None:
    with pytest.raises(InputError, match=rf"layer {layer}: .* has heads behind layers 2 to 5"):
        layerwise(layer=layer)


def test_queries_of_a_batch_rank_as_alone(
    make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    texts = ["A beekeeper checks every hive.", "An old lighthouse.", "", "A desert fox hunts beetles."]
    requests = [make_request(f"query {n}", texts[n:], query_id=f"q{n}") for n in range(3)]
    together = layerwise(layer=3).rerank(requests, clock)
    for request, ranking in zip(requests, together, strict=True):
        [alone] = layerwise(layer=3).rerank([request], clock)
        assert ranking.doc_ids == alone.doc_ids
        assert ranking.scores == pytest.approx(alone.scores, abs=TOLERANCE)


def test_surplus_and_missing_weights_are_refused_in_the_layers_that_are_computed(tmp_path: Path) -> None:
    weights = load_file(FOLDER / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    cases = {
        "too many": {**weights, "model.layers.1.extra.weight": torch.zeros(2)},
        "lacks 1 weight": {key: weights[key] for key in weights if key != name},
    }
    for message, changed in cases.items():
        folder = tmp_path / message.replace(" ", "-")
        shutil.copytree(FOLDER, folder)
        save_file(changed, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(ModelError, match=message):
            create("bge-layerwise", model=str(folder), layer=3, device="cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["MiniCPMForCausalLM"]}, "not a LayerWiseMiniCPMForCausalLM"),
        ({"head_type": "complex"}, "head_type is 'complex'. Only 'simple'"),
    ],
)
def test_other_kinds_of_models_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FOLDER, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **change}), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        create("bge-layerwise", model=str(folder), device="cpu")
