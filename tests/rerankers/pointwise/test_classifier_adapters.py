"""LoRA adapters of classifiers score on their base model as PEFT does, complete or not at all."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch

from rerankers import RerankRequest, StageClock, create
from rerankers.errors import InputError, MissingExtraError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


QUERY = "how long do honey bees live in winter"


PASSAGES = [
    "Worker bees born in autumn live for four to six months.",
    "Summer workers wear out within six weeks",
    "",
    "A queen may lay eggs for three to five years. " * 3,
]


def scores_of(reranker: Any, request: RerankRequest, clock: StageClock) -> dict[str, float]:
    (ranking,) = reranker.rerank([request], clock)
    return dict(zip(ranking.doc_ids, ranking.scores, strict=True))


@pytest.fixture
def base(tmp_path: Path, tiny_llm: str) -> Path:
    """Return a language model without a classifier's head."""
    folder = tmp_path / "base"
    shutil.copytree(tiny_llm, folder)
    return folder


def make_adapter(base: Path, folder: Path, **config: Any) -> tuple[Path, Any]:
    """Return a random LoRA with a head, as RankLLaMA is published, and the model that PEFT makes with it."""
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    network: Any = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    lora = LoraConfig(
        task_type=TaskType.SEQ_CLS, r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], **config
    )
    wrapped: Any = get_peft_model(network, lora)
    for name, weight in wrapped.named_parameters():
        if "lora_" in name or "score" in name:
            torch.nn.init.normal_(weight, std=0.3)
    wrapped.save_pretrained(folder)
    return folder, wrapped.eval()


@pytest.mark.parametrize("kind", ["plain", "dora", "rslora"])
def test_an_adapter_scores_on_its_base_model_as_peft_itself_does(
    kind: str, base: Path, tmp_path: Path, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    from transformers import AutoTokenizer

    folder, wrapped = make_adapter(
        base, tmp_path / "adapter", use_dora=kind == "dora", use_rslora=kind == "rslora"
    )
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    pairs = [(f"query: {QUERY}", f"document: {text}") for text in PASSAGES]
    with torch.inference_mode():
        encoded = [tokenizer([query], [passage], return_tensors="pt") for query, passage in pairs]
        expected = [float(wrapped(**features).logits[0, 0]) for features in encoded]
    options = {"model": str(folder), "query_prefix": "query: ", "passage_prefix": "document: "}
    reranker = create("cross-encoder", options)
    scores = scores_of(reranker, make_request(QUERY, PASSAGES), clock)
    assert scores == pytest.approx({f"d{i}": score for i, score in enumerate(expected)}, rel=1e-5, abs=1e-5)
    described: Any = reranker.describe()
    assert (described["model"], described["base"]["model"]) == (str(folder), str(base))
    assert described["revision"] != described["base"]["revision"]
    assert described["base"]["revision"].startswith("sha256:")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: {n: t for n, t in w.items() if "layers.1" not in n}, "lacks 4 weights of its adapter"),
        (lambda w: {n: t for n, t in w.items() if "score" not in n}, "lacks 1 weights.*score.weight"),
        (lambda w: {**w, "base_model.model.stranger": torch.zeros(1)}, "1 weights too many.*stranger"),
        (
            lambda w: {n: t[:, :8].clone() if "lora_A" in n else t for n, t in w.items()},
            "has the shape .4, 8.,.* needs .4, 64.",
        ),
    ],
)
def test_an_adapter_that_is_not_complete_or_fits_another_base_is_refused(
    change: Any, words: str, base: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder, _ = make_adapter(base, tmp_path / "adapter")
    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=words):
        create("cross-encoder", {"model": str(folder)})


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"base_model_name_or_path": None}, ModelError, "base_model_name_or_path is None"),
        ({"base_model_name_or_path": "./nowhere"}, InputError, "no folder './nowhere'"),
        ({"peft_type": "IA3"}, ModelError, "is a IA3 adapter for SEQ_CLS; a cross-encoder takes LORA"),
        ({"task_type": "CAUSAL_LM"}, ModelError, "LORA adapter for CAUSAL_LM"),
        (
            {"megatron_config": {}, "megatron_core": "os"},
            ModelError,
            "megatron_config, which is not imported",
        ),
    ],
)
def test_an_adapter_that_cannot_be_loaded_says_what_to_do(
    change: dict[str, Any], error: Any, words: str, base: Path, tmp_path: Path
) -> None:
    folder, _ = make_adapter(base, tmp_path / "adapter")
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    (folder / "adapter_config.json").write_text(json.dumps(config | change), encoding="utf-8")
    with pytest.raises(error, match=words):
        create("cross-encoder", {"model": str(folder)})


def test_an_adapter_without_peft_names_the_extra(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    folder, _ = make_adapter(base, tmp_path / "adapter")
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"rerankbench\[train\]"):
        create("cross-encoder", {"model": str(folder)})
