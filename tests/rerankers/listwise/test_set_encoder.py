"""The Set-Encoder against lightning-ir's scores, and what this project adds to it.

`golden/set_encoder` holds small random checkpoints with both backbones, and what lightning-ir makes of them.
"""

from __future__ import annotations

import json
import shutil
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rerankers import RerankRequest, StageClock, create
from rerankers.errors import InputError, ModelError
from tests.rerankers.listwise.golden_cases import TEXTS, TOLERANCE, read_golden, request_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FOLDER, GOLDEN = read_golden("set_encoder")
CASES = {case["kind"]: (".", case) for case in GOLDEN["cases"]}
CASES |= {case["kind"]: ("bert", case) for case in GOLDEN["bert_cases"]}


@cache
def set_encoder(folder: str = ".", **options: Any) -> Any:
    return create("set-encoder", model=str(FOLDER / folder), device="cpu", **options)


def by_passage(ranking: Any) -> torch.Tensor:
    scores = dict(zip(ranking.doc_ids, ranking.scores, strict=True))
    return torch.tensor([scores[doc_id] for doc_id in sorted(scores, key=lambda name: int(name.strip("d")))])


@pytest.mark.parametrize("kind", CASES)
def test_scores_are_lightning_ir_s(kind: str, clock: StageClock) -> None:
    folder, case = CASES[kind]
    [ranking] = set_encoder(folder, control_tokens="control").rerank(
        [request_of(case["query"], case["passages"])], clock
    )
    assert (by_passage(ranking) - torch.tensor(case["scores"])).abs().max() < TOLERANCE


@pytest.mark.parametrize("kind", CASES)
def test_tokens_are_lightning_ir_s(kind: str) -> None:
    folder, case = CASES[kind]
    rows, _ = set_encoder(folder).rows(case["query"], case["passages"])
    assert [row.token_ids for row in rows] == case["token_ids"]


def test_the_order_of_the_candidates_has_no_influence(
    make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    forward, backward = (
        make_request("which animal hunts", TEXTS),
        make_request("which animal hunts", TEXTS[::-1]),
    )
    [ranking], [other] = (set_encoder().rerank([request], clock) for request in (forward, backward))
    assert by_passage(ranking).flip(0) == pytest.approx(by_passage(other), abs=TOLERANCE)


def test_passages_see_each_other(make_request: Callable[..., RerankRequest], clock: StageClock) -> None:
    [few] = set_encoder().rerank([make_request("which animal hunts", TEXTS[:2])], clock)
    [all_four] = set_encoder().rerank([make_request("which animal hunts", TEXTS)], clock)
    assert (by_passage(all_four)[:2] - by_passage(few)).abs().max() > 0.01


@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
def test_batches_do_not_change_scores(batch_tokens: int, clock: StageClock) -> None:
    _, case = CASES["full-12"]
    reranker = set_encoder(control_tokens="control", batch_tokens=batch_tokens)
    [ranking] = reranker.rerank([request_of(case["query"], case["passages"])], clock)
    assert (by_passage(ranking) - torch.tensor(case["scores"])).abs().max() < TOLERANCE


def test_limits_cut_passages_and_are_counted(
    make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    request = make_request("which animal hunts", ["bees " * 30, "fox"])
    [ranking] = set_encoder(max_query_tokens=3, max_passage_tokens=5).rerank([request], clock)
    assert ranking.usage.passages_truncated == 1
    assert ranking.usage.windows == 1
    with pytest.raises(InputError, match=r"max_query_tokens is 200, but .* has only 128 positions"):
        set_encoder(max_query_tokens=200)


def test_surplus_and_missing_weights_are_refused(tmp_path: Path) -> None:
    weights = load_file(FOLDER / "model.safetensors")
    cases = {
        "too many": {**weights, "extra.weight": torch.zeros(2)},
        "lacks 1 weight": {name: weights[name] for name in weights if name != "linear.weight"},
    }
    for message, changed in cases.items():
        folder = tmp_path / message.replace(" ", "-")
        shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("bert"))
        save_file(changed, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(ModelError, match=message):
            create("set-encoder", model=str(folder), device="cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mono"}, "type 'mono' with the backbone 'electra', not a set-encoder"),
        ({"backbone_model_type": "roberta"}, "backbone 'roberta'"),
        ({"pooling_strategy": "mean"}, "pooling_strategy is 'mean'. Only 'first'"),
    ],
)
def test_other_kinds_of_models_are_refused(tmp_path: Path, change: dict[str, str], message: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("bert"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **change}), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        create("set-encoder", model=str(folder), device="cpu")
