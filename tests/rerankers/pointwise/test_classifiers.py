"""Classifiers of all shapes: over causal models, without padding tokens, in half precision."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from rerankers import RerankRequest, StageClock, create
from rerankers.errors import InputError, ModelError
from tests.rerankers.pointwise.test_classifier_adapters import PASSAGES, QUERY, scores_of

if TYPE_CHECKING:
    from collections.abc import Callable


def make_causal_classifier(family: str, folder: Path, tokenizer: str, **config: Any) -> Path:
    """Return a random classifier over a causal model, with the tokenizer of a chat model."""
    import transformers

    torch.manual_seed(0)
    shape = {
        "vocab_size": 602,
        "num_labels": 1,
        "initializer_range": 0.4,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if family == "GPT2":
        shape |= {"n_embd": 32, "n_layer": 2, "n_head": 4}
    else:
        shape |= {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
        shape |= {"num_attention_heads": 4, "num_key_value_heads": 2}
    configuration = getattr(transformers, f"{family}Config")(**shape | config)
    model: Any = getattr(transformers, f"{family}ForSequenceClassification")(configuration)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json"):
        if (Path(tokenizer) / name).exists():
            shutil.copy(Path(tokenizer) / name, folder / name)
    return folder


def set_tokenizer(folder: Path, **change: Any) -> None:
    path = folder / "tokenizer_config.json"
    content = json.loads(path.read_text(encoding="utf-8")) | change
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}), encoding="utf-8")


def pair_by_pair(folder: Path, pairs: list[tuple[str, str]]) -> list[float]:
    """Return the logits of transformers' own classifier, one pair at a time and therefore without padding."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        encoded = [tokenizer([query], [passage], return_tensors="pt") for query, passage in pairs]
        return [float(model(**features).logits[0, 0]) for features in encoded]


@pytest.mark.parametrize("family", ["Llama", "Qwen2", "GPT2"])
@pytest.mark.parametrize("config_pad", [None, 0])
@pytest.mark.parametrize("tokenizer_pad", [None, "</s>"])
def test_a_batch_scores_as_pairs_do_alone_whatever_the_padding_token(
    family: str,
    config_pad: int | None,
    tokenizer_pad: str | None,
    tmp_path: Path,
    tiny_llm: str,
    make_request: Callable[..., RerankRequest],
    clock: StageClock,
) -> None:
    folder = make_causal_classifier(family, tmp_path / "model", tiny_llm, pad_token_id=config_pad)
    set_tokenizer(folder, pad_token=tokenizer_pad, padding_side="left")
    texts = [*PASSAGES, "ends in the padding token </s>", "and so does the other <unk>"]
    expected = pair_by_pair(folder, [(QUERY, text) for text in texts])
    reranker = create("cross-encoder", {"model": str(folder), "control_tokens": "control"})
    scores = scores_of(reranker, make_request(QUERY, texts), clock)
    assert scores == pytest.approx({f"d{i}": score for i, score in enumerate(expected)}, abs=1e-5)


def test_pairs_without_any_token_come_last_in_first_stage_order(
    tmp_path: Path, tiny_llm: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    folder = make_causal_classifier("Llama", tmp_path / "model", tiny_llm)
    reranker = create("cross-encoder", {"model": str(folder)})
    (ranking,) = reranker.rerank([make_request("", ["", "frost", "", "bees"])], clock)
    assert ranking.doc_ids[2:] == ("d0", "d2")
    assert ranking.scores[2] == pytest.approx(ranking.scores[1] - 1.0)
    (ranking,) = reranker.rerank([make_request("", ["", ""])], clock)
    assert ranking.doc_ids == ("d0", "d1")


def test_a_slow_tokenizer_scores_as_cross_encoder_predict_does(
    tmp_path: Path, tiny_classifier: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    from sentence_transformers import CrossEncoder

    folder = tmp_path / "model"
    shutil.copytree(tiny_classifier, folder)
    (folder / "tokenizer.json").unlink()
    settings = {
        "tokenizer_class": "BertJapaneseTokenizer",
        "word_tokenizer_type": "basic",
        "subword_tokenizer_type": "character",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    encoder = CrossEncoder(str(folder), device="cpu", activation_fn=torch.nn.Identity())
    assert not encoder.tokenizer.is_fast
    expected = encoder.predict([(QUERY, text) for text in PASSAGES])
    reranker = create("cross-encoder", {"model": str(folder)})
    scores = scores_of(reranker, make_request(QUERY, PASSAGES), clock)
    assert scores == pytest.approx({f"d{i}": float(score) for i, score in enumerate(expected)}, abs=1e-5)


def make_roberta(folder: Path, tokenizer: str, **config: Any) -> str:
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    shape: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    shape |= {"num_attention_heads": 4, "vocab_size": 420, "num_labels": 1, "type_vocab_size": 2}
    XLMRobertaForSequenceClassification(XLMRobertaConfig(**shape | config)).save_pretrained(folder)
    for name in ("tokenizer.json", "vocab.txt"):
        shutil.copy(Path(tokenizer) / name, folder / name)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}', encoding="utf-8")
    return str(folder)


def test_a_roberta_reads_as_many_tokens_as_it_has_positions_behind_the_padding(
    tmp_path: Path, tiny_encoder: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    folder = make_roberta(tmp_path, tiny_encoder, max_position_embeddings=34, pad_token_id=1)
    reranker = create("cross-encoder", {"model": folder})
    assert reranker.describe()["max_length"] == 34 - 1 - 1
    (ranking,) = reranker.rerank([make_request("bees", ["frost " * 100, "snow"])], clock)
    assert ranking.usage.passages_truncated == 1
    with pytest.raises(InputError, match=r"max_length is 33, but .* has only 32 positions"):
        create("cross-encoder", {"model": folder, "max_length": 33})


@pytest.mark.parametrize("labels", [1, 2])
def test_half_precision_ranks_by_a_float32_head(
    labels: int,
    tmp_path: Path,
    tiny_encoder: str,
    make_request: Callable[..., RerankRequest],
    clock: StageClock,
) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(
        make_roberta(tmp_path, tiny_encoder, pad_token_id=1, num_labels=labels, initializer_range=0.4)
    )
    weights = load_file(folder / "model.safetensors")
    offset = torch.tensor([20.0]) if labels == 1 else torch.tensor([-10.0, 10.0])
    weights["classifier.out_proj.bias"] = offset  # where steps of bfloat16 are 0.125, and a sigmoid is 1
    weights["classifier.out_proj.weight"] *= 0.3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    words = ("bees", "frost", "snow", "hive", "queen", "keeper", "old reef")
    texts = [f"{first} {second}" for first in words for second in words]
    options = {"model": str(folder), "dtype": "bfloat16", **({} if labels == 1 else {"label": 1})}
    (ranking,) = create("cross-encoder", options).rerank([make_request("winter", texts)], clock)
    (wide,) = create("cross-encoder", {**options, "dtype": "float32"}).rerank(
        [make_request("winter", texts)], clock
    )
    gaps = [high - low for high, low in zip(ranking.scores, ranking.scores[1:], strict=False)]
    smallest_step = 2e-6 if labels == 1 else 1e-12
    assert sum(gap > smallest_step for gap in gaps) >= 40  # of 48; a bfloat16 head gives 5 and 27
    assert len(set(ranking.doc_ids[:10]) & set(wide.doc_ids[:10])) >= 7


def test_a_causal_reranker_with_two_answers_keeps_only_their_rows(
    tiny_llm: str, tmp_path: Path, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    from sentence_transformers import CrossEncoder
    from transformers import AutoTokenizer, LlamaForCausalLM

    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_llm)
    tokenizer.add_tokens(["yes", "no"])
    tokenizer.chat_template = None
    model = LlamaForCausalLM.from_pretrained(tiny_llm)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    tokenizer.save_pretrained(tmp_path / "source")
    model.save_pretrained(tmp_path / "source")
    encoder = CrossEncoder(str(tmp_path / "source"), device="cpu", activation_fn=torch.nn.Identity())
    encoder.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    expected = [float(encoder.predict([(QUERY, text)])[0]) for text in PASSAGES]
    reranker = create("cross-encoder", {"model": str(tmp_path / "saved")})
    scores = scores_of(reranker, make_request(QUERY, PASSAGES), clock)
    assert scores == pytest.approx({f"d{i}": score for i, score in enumerate(expected)}, abs=1e-5)


def state(folder: Path, name: str, **change: Any) -> None:
    path = folder / name
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(content | change), encoding="utf-8")


@pytest.fixture
def saved(tmp_path: Path, tiny_classifier: str) -> Path:
    """Return a classifier in the layout of sentence-transformers, with `modules.json`."""
    from sentence_transformers import CrossEncoder

    folder = tmp_path / "saved"
    CrossEncoder(tiny_classifier, device="cpu").save_pretrained(str(folder), create_model_card=False)
    return folder


@pytest.mark.parametrize(
    "change",
    [
        {"sentence_transformers": {"activation_fn": "torch.hub.list"}},
        {"sbert_ce_default_activation_function": "torch.hub.list"},
        {"sbert_ce_default_activation_function": "os.getcwd"},
        {"sbert_ce_default_activation_function": 3},
        {"sentence_transformers": "torch.hub.list"},
    ],
)
def test_only_listed_activations_are_read_and_none_is_called(change: dict[str, Any], saved: Path) -> None:
    (saved / "modules.json").unlink()
    state(saved, "config.json", **change)
    with pytest.raises(ModelError, match=r"activation .* which is not called. Allowed are torch.nn.Identity"):
        create("cross-encoder", {"model": str(saved)})


def test_a_name_that_sentence_transformers_would_import_is_refused_before_it_is_read(saved: Path) -> None:
    original = (saved / "modules.json").read_text(encoding="utf-8")
    for kind in ("os.path", "own.Module", "sentence_transformers.util.misc.json", "subprocess.Popen"):
        module = {"idx": 0, "name": "0", "path": "", "type": kind}
        (saved / "modules.json").write_text(json.dumps([module]), encoding="utf-8")
        with pytest.raises(ModelError, match=r"modules.json names the module .* not imported"):
            create("cross-encoder", {"model": str(saved)})
    (saved / "modules.json").write_text(original, encoding="utf-8")
    state(saved, "config_sentence_transformers.json", activation_fn="torch.hub.list")
    with pytest.raises(ModelError, match=r"torch\.hub\.list"):
        create("cross-encoder", {"model": str(saved)})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model_args": {"weights_only": False}}, "sets model_args.weights_only"),
        ({"model_kwargs": {"quantization_config": {}}}, "sets model_kwargs.quantization_config"),
        ({"tokenizer_args": {"subfolder": ".."}}, "sets tokenizer_args.subfolder"),
        ({"config_kwargs": {"code_revision": "main"}}, "sets config_kwargs.code_revision"),
        ({"tokenizer_name_or_path": "org/other"}, "takes its tokenizer from elsewhere"),
        (
            {"modality_config": {"text": {"method": "save_pretrained", "method_output_name": "logits"}}},
            "save_pretrained",
        ),
    ],
)
def test_a_models_files_do_not_say_how_far_they_are_trusted(
    settings: dict[str, Any], words: str, saved: Path
) -> None:
    state(saved, "sentence_bert_config.json", **settings)
    with pytest.raises(ModelError, match=words):
        create("cross-encoder", {"model": str(saved)})


@pytest.mark.parametrize(
    "stated", ["torch.nn.modules.activation.Sigmoid", "torch.nn.Identity", "torch.nn.Tanh"]
)
def test_the_stated_activation_is_recorded_and_the_score_is_the_logit(
    stated: str,
    saved: Path,
    tiny_classifier: str,
    make_request: Callable[..., RerankRequest],
    clock: StageClock,
) -> None:
    state(saved, "config_sentence_transformers.json", activation_fn=stated)
    reranker = create("cross-encoder", {"model": str(saved)})
    described = reranker.describe()
    assert (described["score"], described["stated_activation"]) == ("logit", stated.rpartition(".")[2])
    request = make_request(QUERY, PASSAGES)
    plain = scores_of(create("cross-encoder", {"model": tiny_classifier}), request, clock)
    assert scores_of(reranker, request, clock) == pytest.approx(plain, abs=1e-6)
