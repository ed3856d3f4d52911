from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rerankers import RerankRequest, StageClock, create
from rerankers.errors import InputError, ModelError
from rerankers.models.remote_code import loading

if TYPE_CHECKING:
    from collections.abc import Callable

QUERY = "how long do honey bees live in winter"
PASSAGES = [
    "Worker bees born in autumn live for four to six months and keep the queen warm until spring.",
    "Summer workers wear out within six weeks.",
    "A queen may lay eggs for three to five years. " * 4,
    "Winter tyres must be fitted from November to March in several European countries.",
    "Drones are driven out of the hive before winter and starve within days; they cannot sting or forage.",
    "Honey keeps for years if it is stored dry and closed. " * 40,
]
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def make_checkpoint(family: str, folder: Path, tokenizer: Path, labels: int = 1) -> str:
    """Return a random classifier of a family, two layers wide enough that scores differ,
    with a real tokenizer.
    """
    import torch
    from transformers import (
        AutoConfig,
        BertConfig,
        ModernBertConfig,
        ModernBertForSequenceClassification,
        XLMRobertaConfig,
        XLMRobertaForSequenceClassification,
    )
    from transformers.models.bert import BertForSequenceClassification

    size = AutoConfig.from_pretrained(tokenizer).vocab_size
    shape: dict[str, Any] = {
        "vocab_size": size,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_labels": labels,
        "initializer_range": 0.4,
        "pad_token_id": 0,
    }
    torch.manual_seed(1)
    model: Any
    if family == "bert":
        model = BertForSequenceClassification(BertConfig(**shape))
    elif family == "xlm-roberta":
        config = XLMRobertaConfig(**shape, max_position_embeddings=514, type_vocab_size=2)
        model = XLMRobertaForSequenceClassification(config)
    else:
        special = {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
        model = ModernBertForSequenceClassification(ModernBertConfig(**(shape | special)))
    model.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        shutil.copy(tokenizer / name, folder / name)
    return str(folder)


@pytest.fixture
def request_(make_request: Callable[..., RerankRequest]) -> RerankRequest:
    return make_request(QUERY, PASSAGES)


def scores_of(reranker: Any, request: RerankRequest, clock: StageClock) -> dict[str, float]:
    (ranking,) = reranker.rerank([request], clock)
    return dict(zip(ranking.doc_ids, ranking.scores, strict=True))


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "modernbert"])
def test_scores_and_order_are_the_logits_of_cross_encoder_predict(
    family: str, tmp_path: Path, tiny_encoder: str, request_: RerankRequest, clock: StageClock
) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    folder = make_checkpoint(family, tmp_path, Path(tiny_encoder))
    encoder = CrossEncoder(folder, device="cpu", max_length=128)
    expected = encoder.predict([(QUERY, p) for p in PASSAGES], activation_fn=torch.nn.Identity())
    # A budget of 100 tokens makes five batches of six pairs, so batching is part of what is compared.
    reranker = create("cross-encoder", {"model": folder, "max_length": 128, "batch_tokens": 100})
    scores = scores_of(reranker, request_, clock)
    assert scores == pytest.approx({f"d{i}": float(score) for i, score in enumerate(expected)}, abs=1e-5)
    assert list(scores) == [f"d{i}" for i in (-expected).argsort(kind="stable")]


def test_a_language_model_saved_as_a_cross_encoder_keeps_its_chat_template_and_prompt(
    tiny_llm: str, tmp_path: Path, request_: RerankRequest, clock: StageClock
) -> None:
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import AutoTokenizer, LlamaForCausalLM

    source, saved = tmp_path / "source", tmp_path / "saved"
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_llm)
    tokenizer.add_tokens(["yes", "no"])
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.chat_template = (
        "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }} {% endfor %}<answer>"
    )
    tokenizer.save_pretrained(source)
    model = LlamaForCausalLM.from_pretrained(tiny_llm)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(source)
    prompts = {"web": "Find passages that answer the query."}
    encoder = CrossEncoder(str(source), device="cpu", prompts=prompts, default_prompt_name="web")
    encoder.save_pretrained(str(saved), create_model_card=False)
    pairs = [(QUERY, passage) for passage in PASSAGES]
    expected = encoder.predict(pairs, activation_fn=torch.nn.Identity())
    scores = scores_of(create("cross-encoder", {"model": str(saved), "batch_tokens": 500}), request_, clock)
    assert scores == pytest.approx({f"d{i}": float(score) for i, score in enumerate(expected)}, abs=1e-5)


def test_queries_share_batches_and_the_time_is_shared(
    tiny_classifier: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    requests = [make_request(QUERY, PASSAGES[:2], "a"), make_request("frost", PASSAGES[:2], "b")]
    reranker = create("cross-encoder", {"model": tiny_classifier})
    rankings = reranker.rerank(requests, clock)
    # The clock ticks one second a reading: one stage of one second, half of it for each of two queries.
    assert [ranking.stage_seconds for ranking in rankings] == [
        {"prompt": 0.5, "forward": 0.5, "order": 1.0}
    ] * 2


def test_cut_pairs_and_tokens_are_counted(
    tiny_classifier: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    reranker = create("cross-encoder", {"model": tiny_classifier, "max_length": 32})
    long = "bees " * 40
    (ranking,) = reranker.rerank([make_request("bees", ["", long, long + "fly"])], clock)
    assert ranking.usage.passages_truncated == 2
    assert 2 * 32 < ranking.usage.prompt_tokens < 3 * 32


def test_equal_texts_stay_in_first_stage_order(
    tiny_classifier: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    texts = [PASSAGES[2], PASSAGES[0], PASSAGES[1], PASSAGES[0]]
    reranker = create("cross-encoder", {"model": tiny_classifier, "batch_tokens": 1})
    (ranking,) = reranker.rerank([make_request(QUERY, texts)], clock)
    assert ranking.doc_ids.index("d1") + 1 == ranking.doc_ids.index("d3")


def test_a_classifier_with_two_classes_scores_by_the_named_one(
    tmp_path: Path, tiny_encoder: str, request_: RerankRequest, clock: StageClock
) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    folder = make_checkpoint("bert", tmp_path, Path(tiny_encoder), labels=2)
    with pytest.raises(InputError, match="has 2 classes; set label"):
        create("cross-encoder", {"model": folder})
    logits = torch.tensor(CrossEncoder(folder, device="cpu").predict([(QUERY, p) for p in PASSAGES]))
    expected = logits.log_softmax(dim=-1)[:, 1]
    scores = scores_of(create("cross-encoder", {"model": folder, "label": 1}), request_, clock)
    assert scores == pytest.approx({f"d{i}": float(score) for i, score in enumerate(expected)}, abs=1e-5)


def test_a_label_is_refused_where_there_is_one_output(tiny_classifier: str) -> None:
    with pytest.raises(InputError, match="one output"):
        create("cross-encoder", {"model": tiny_classifier, "label": 0})


def test_an_encoder_without_a_classifier_is_refused_instead_of_scored_at_random(
    golden: Path, tiny_encoder: str
) -> None:
    for folder in (golden / "pe_rank" / "mistral" / "encoder", tiny_encoder):
        with pytest.raises(ModelError, match=r"not a sequence classifier|lacks .* weights"):
            create("cross-encoder", {"model": str(folder)})


def test_a_language_model_is_sent_to_the_methods_for_language_models(tiny_llm: str) -> None:
    with pytest.raises(ModelError, match="use causal-yes-no"):
        create("cross-encoder", {"model": tiny_llm})


def as_jina_reranker_v2(source: Path, folder: Path) -> str:
    """Return the checkpoint with the names, the fused projections and the
    configuration of Jina's repository.
    """
    import torch
    from safetensors.torch import load_file, save_file

    folder.mkdir()
    weights = load_file(source / "model.safetensors")
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    for layer in range(config["num_hidden_layers"]):
        old, new = f"roberta.encoder.layer.{layer}", f"roberta.encoder.layers.{layer}"
        for kind in ("weight", "bias"):
            fused = [weights.pop(f"{old}.attention.self.{part}.{kind}") for part in ("query", "key", "value")]
            weights[f"{new}.mixer.Wqkv.{kind}"] = torch.cat(fused)
            for standard, flash in (
                ("attention.output.dense", "mixer.out_proj"),
                ("attention.output.LayerNorm", "norm1"),
                ("intermediate.dense", "mlp.fc1"),
                ("output.dense", "mlp.fc2"),
                ("output.LayerNorm", "norm2"),
            ):
                weights[f"{new}.{flash}.{kind}"] = weights.pop(f"{old}.{standard}.{kind}")
    for kind in ("weight", "bias"):
        weights[f"roberta.emb_ln.{kind}"] = weights.pop(f"roberta.embeddings.LayerNorm.{kind}")
    save_file(weights, folder / "model.safetensors")
    del config["model_type"]
    config["auto_map"] = {"AutoConfig": "configuration_xlm_roberta.XLMRobertaFlashConfig"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for name in TOKENIZER_FILES:
        shutil.copy(source / name, folder / name)
    return str(folder)


def test_jina_reranker_v2_loads_without_its_code_and_scores_as_the_same_weights_do(
    tmp_path: Path,
    tiny_encoder: str,
    request_: RerankRequest,
    clock: StageClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "source"
    plain = make_checkpoint("xlm-roberta", source, Path(tiny_encoder))
    jina = as_jina_reranker_v2(source, tmp_path / "jina")
    expected = scores_of(create("cross-encoder", {"model": plain}), request_, clock)
    reranker = create("cross-encoder", {"model": jina})
    assert scores_of(reranker, request_, clock) == pytest.approx(expected, abs=1e-6)
    assert str(reranker.describe()["revision"]).startswith("sha256:")


def test_weights_that_are_missing_under_their_jina_names_are_not_invented(
    tmp_path: Path, tiny_encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file, save_file

    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "source"
    make_checkpoint("xlm-roberta", source, Path(tiny_encoder))
    jina = as_jina_reranker_v2(source, tmp_path / "jina")
    weights = load_file(f"{jina}/model.safetensors")
    del weights["roberta.encoder.layers.1.norm2.weight"]
    save_file(weights, f"{jina}/model.safetensors")
    with pytest.raises(ModelError, match="does not hold a Jina reranker v2"):
        create("cross-encoder", {"model": jina})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position_embedding_type": "rotary"}, "has rotary positions; use the reranker rerank-api"),
        ({"architectures": ["XLMRobertaForMaskedLM"]}, "not a sequence classifier"),
    ],
)
def test_what_calls_for_jinas_code_but_is_another_model_says_what_to_do(
    change: dict[str, Any], message: str, tmp_path: Path, tiny_encoder: str
) -> None:
    make_checkpoint("xlm-roberta", tmp_path / "source", Path(tiny_encoder))
    jina = Path(as_jina_reranker_v2(tmp_path / "source", tmp_path / "jina"))
    config = json.loads((jina / "config.json").read_text(encoding="utf-8"))
    (jina / "config.json").write_text(json.dumps(config | change), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        create("cross-encoder", {"model": str(jina)})


def test_remote_code_that_no_longer_runs_is_told_in_one_line() -> None:
    moved = "cannot import name 'create_position_ids_from_input_ids'\nfrom transformers.models"
    with (
        pytest.raises(ModelError, match=r"fails under transformers .* use a revision or a model") as raised,
        loading("cross-encoder", "org/name", trust_remote_code=True),
    ):
        raise ImportError(moved)
    assert "\n" not in str(raised.value)


def test_an_architecture_that_would_load_as_another_one_is_refused(tmp_path: Path, tiny_encoder: str) -> None:
    folder = make_checkpoint("bert", tmp_path, Path(tiny_encoder))
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config["architectures"] = ["JinaBertForSequenceClassification"]  # as in jina-reranker-v1
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match="set trust_remote_code"):
        create("cross-encoder", {"model": folder})


def test_remote_code_needs_a_pinned_commit(tiny_classifier: str) -> None:
    with pytest.raises(InputError, match="40 hex digits"):
        create("cross-encoder", {"model": "org/name", "trust_remote_code": True, "revision": "main"})


def test_what_was_loaded_is_described(tiny_classifier: str) -> None:
    described = create(
        "cross-encoder",
        {"model": tiny_classifier, "max_length": 64, "batch_tokens": 99, "attention": "eager"},
    ).describe()
    assert described["architecture"] == "BertForSequenceClassification"
    assert (described["dtype"], described["max_length"], described["batch_tokens"]) == ("float32", 64, 99)
    assert described["attention"] == "eager"
    assert str(described["revision"]).startswith("sha256:")
