"""Encoders compare texts as sentence-transformers' `encode_query` and `encode_document` do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from rerankers.encoders.encoder import Encoder
from rerankers.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

BACKBONE = Path(__file__).parents[2] / "golden" / "pe_rank" / "mistral" / "encoder"
QUERIES = ["what moves a glacier", "Bees"]
PASSAGES = ["a glacier moves", "", "BEES and bread", "the lighthouse keeper " * 30, "https://host/bees.png"]
PROMPTS = {"query": "find: ", "document": "passage text: "}


def save(folder: Path, *head: Any, **settings: Any) -> str:
    """Save the tiny transformer with the modules behind it, as sentence-transformers does."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer

    modules = [Transformer.load(str(BACKBONE)), *head]
    model = SentenceTransformer(modules=modules, device="cpu", **settings)
    model.save(str(folder), create_model_card=False)
    return str(folder)


def pooling(*modes: str, include_prompt: bool = True) -> Any:
    from sentence_transformers.sentence_transformer.modules import Pooling

    return Pooling(32, modes, include_prompt=include_prompt)


def dense(inputs: int, outputs: int) -> Any:
    from sentence_transformers.base.modules import Dense

    torch.manual_seed(0)
    return Dense(inputs, outputs)


def layer_norm(size: int) -> Any:
    from sentence_transformers.sentence_transformer.modules import LayerNorm

    norm = LayerNorm(size)
    torch.manual_seed(0)
    torch.nn.init.normal_(norm.norm.weight)
    torch.nn.init.normal_(norm.norm.bias)
    return norm


def normalize() -> Any:
    from sentence_transformers.base.modules import Normalize

    return Normalize()


def similarities(folder: str, **options: Any) -> torch.Tensor:
    """Return (queries, passages) as this project computes them."""
    encoder = Encoder(folder, device="cpu", **options)
    return encoder.encode(QUERIES, kind="query") @ encoder.encode(PASSAGES).T


def theirs(folder: str) -> torch.Tensor:
    """Return (queries, passages) as sentence-transformers computes them."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu")
    similarity: torch.Tensor = model.similarity(model.encode_query(QUERIES), model.encode_document(PASSAGES))
    return similarity


HEADS: dict[str, tuple[Callable[[], list[Any]], dict[str, Any]]] = {
    "mean": (lambda: [pooling("mean")], {}),
    "Dense and Normalize": (lambda: [pooling("mean"), dense(32, 16), normalize()], {}),
    "LayerNorm": (lambda: [pooling("cls"), layer_norm(32)], {}),
    "two poolings and Dense": (lambda: [pooling("cls", "max"), dense(64, 8)], {}),
    "root of the length": (lambda: [pooling("mean_sqrt_len_tokens")], {"similarity_fn_name": "dot"}),
    "weighted mean": (lambda: [pooling("weightedmean")], {}),
    "last token": (lambda: [pooling("lasttoken")], {}),
    "prompts": (lambda: [pooling("mean")], {"prompts": PROMPTS}),
    "prompts left out of the pooling": (
        lambda: [pooling("mean", include_prompt=False)],
        {"prompts": PROMPTS},
    ),
    "a default prompt": (
        lambda: [pooling("mean")],
        {"prompts": {"web": "web: "}, "default_prompt_name": "web"},
    ),
    "inner products": (lambda: [pooling("mean"), dense(32, 16)], {"similarity_fn_name": "dot"}),
    "fewer dimensions": (lambda: [pooling("mean")], {"truncate_dim": 10}),
}


@pytest.mark.parametrize("name", HEADS)
def test_similarities_are_sentence_transformers(tmp_path: Path, name: str) -> None:
    head, settings = HEADS[name]
    folder = save(tmp_path / "model", *head(), **settings)
    assert torch.allclose(similarities(folder), theirs(folder), rtol=1e-5, atol=1e-5)


def test_half_precision_pools_in_float32(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", pooling("mean"), dense(32, 16))
    encoder = Encoder(folder, device="cpu", dtype="bfloat16")
    vectors = encoder.encode(PASSAGES)
    assert vectors.dtype == torch.float32
    assert not torch.equal(vectors, vectors.bfloat16().float())
    assert (similarities(folder, dtype="bfloat16") - theirs(folder)).abs().max() < 0.03


@pytest.mark.parametrize("settings_file", ["sentence_bert_config.json", "sentence_xlm-roberta_config.json"])
def test_folders_of_any_name_are_followed(tmp_path: Path, settings_file: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(BACKBONE, folder / "0_Transformer")
    (folder / "0_Transformer" / settings_file).write_text('{"max_seq_length": 12, "do_lower_case": false}')
    (folder / "pool").mkdir()
    (folder / "pool" / "config.json").write_text(
        '{"word_embedding_dimension": 32, "pooling_mode_max_tokens": true}'
    )
    kinds = {"0_Transformer": "Transformer", "pool": "Pooling"}
    rows = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(rows))
    assert torch.allclose(similarities(str(folder)), theirs(str(folder)), atol=1e-5)
    encoder = Encoder(str(folder), device="cpu")
    assert (encoder.pooling, encoder.max_length) == ("max", 12)
    assert encoder.encode_and_cut(PASSAGES)[1] == [3, 4]  # the only ones of more than 12 tokens


def cased(folder: Path, *, is_lower_cased: bool) -> str:
    """Return a model whose tokenizer knows `bees` and not `BEES`, and adds no special token."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "bees", "and", "bread", "glacier", "moves", "the", "lighthouse", "keeper"]
    backend: Any = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[1]))
    backend.pre_tokenizer = Whitespace()
    make: Any = PreTrainedTokenizerFast
    tokenizer = make(tokenizer_object=backend, pad_token=words[0], unk_token=words[1], model_max_length=64)
    path = save(folder, pooling("mean"))
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        (folder / name).unlink(missing_ok=True)
    tokenizer.save_pretrained(path)
    settings = json.loads((folder / "sentence_bert_config.json").read_text())
    settings["do_lower_case"] = is_lower_cased
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings))
    return path


def test_texts_are_lower_cased_where_the_authors_did(tmp_path: Path) -> None:
    plain, lower = (cased(tmp_path / str(flag), is_lower_cased=flag) for flag in (False, True))
    for folder, same in ((plain, False), (lower, True)):
        vectors = Encoder(folder, device="cpu").encode(["BEES and bread", "bees and bread"])
        assert torch.allclose(vectors[0], vectors[1]) == same


def test_a_text_without_tokens_has_a_vector_of_zeros(tmp_path: Path) -> None:
    encoder = Encoder(cased(tmp_path / "model", is_lower_cased=False), device="cpu")
    vectors = encoder.encode(["bees", "", "bread and bees"])
    assert vectors.norm(dim=1).tolist() == pytest.approx([1, 0, 1])
    assert encoder.encode(["", " "]).tolist() == [[0.0] * 32] * 2
    alone = encoder.encode(["bread and bees"])
    assert torch.allclose(vectors[2], alone[0], atol=1e-6)


def test_a_router_takes_queries_and_passages_to_modules_of_their_own(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router, Transformer

    routes: dict[str, Any] = {
        "query_modules": [Transformer.load(str(BACKBONE)), pooling("cls")],
        "document_modules": [Transformer.load(str(BACKBONE)), pooling("mean"), dense(32, 32)],
    }
    model = SentenceTransformer(modules=[Router.for_query_document(**routes)], device="cpu")
    model.save(str(tmp_path / "model"), create_model_card=False)
    folder = str(tmp_path / "model")
    assert torch.allclose(similarities(folder), theirs(folder), rtol=1e-5, atol=1e-5)
    assert Encoder(folder, device="cpu").pooling == "cls, mean"


def test_a_router_may_read_queries_without_a_transformer(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router, Transformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    torch.manual_seed(0)
    words = StaticEmbedding(Tokenizer.from_file(str(BACKBONE / "tokenizer.json")), embedding_dim=32)
    documents = [Transformer.load(str(BACKBONE)), pooling("mean")]
    router = Router.for_query_document(query_modules=[words], document_modules=documents)
    folder = str(tmp_path / "model")
    SentenceTransformer(modules=[router], device="cpu").save(folder, create_model_card=False)
    assert torch.allclose(similarities(folder), theirs(folder), atol=1e-5)
    assert Encoder(folder, device="cpu", max_length=12).encode_and_cut(PASSAGES)[1] == [3, 4]


def test_a_language_model_that_pads_on_the_left_pools_its_last_token(tmp_path: Path, tiny_llm: str) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    folder = str(tmp_path / "model")
    transformer = Transformer.load(tiny_llm)
    transformer.tokenizer.padding_side = "left"
    modules = [transformer, Pooling(64, "lasttoken")]
    SentenceTransformer(modules=modules, device="cpu").save(folder, create_model_card=False)
    assert torch.allclose(similarities(folder), theirs(folder), atol=1e-5)


def test_averaged_word_vectors_work_without_a_transformer(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    torch.manual_seed(0)
    tokenizer = Tokenizer.from_file(str(BACKBONE / "tokenizer.json"))
    words = StaticEmbedding(tokenizer, embedding_dim=12)
    SentenceTransformer(modules=[words], device="cpu").save(str(tmp_path / "model"), create_model_card=False)
    folder = str(tmp_path / "model")
    assert torch.allclose(similarities(folder), theirs(folder), rtol=1e-5, atol=1e-5)
    encoder = Encoder(folder, device="cpu")
    assert (encoder.dimension, encoder.pooling, encoder.max_length) == (12, "none", None)
    hostile, apart = encoder.encode(["the end [SEP]", "the end [ SEP]"])
    assert torch.equal(hostile, apart)  # a control token in a text is text here too
    assert encoder.count_control_tokens(["the end [SEP]", "\N{GLOWING STAR} unheard"]) == [1, 0]


def test_a_slow_tokenizer_works_and_counts_what_it_cut(tmp_path: Path) -> None:
    from transformers import ByT5Tokenizer, T5Config, T5EncoderModel

    torch.manual_seed(0)
    config = T5Config(vocab_size=384, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    T5EncoderModel(config).save_pretrained(tmp_path)
    ByT5Tokenizer().save_pretrained(tmp_path)
    encoder = Encoder(str(tmp_path), pooling="mean", device="cpu", max_length=8)
    texts = ["seven b", "seven by", "a", ""]  # a token a byte, and the end: 8, 9, 2 and 1 tokens
    vectors, cut = encoder.encode_and_cut(texts)
    assert cut == [1]
    assert torch.allclose(vectors[2], encoder.encode(["a"])[0], atol=1e-6)


def test_another_dense_is_another_embedding_store(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    first = save(tmp_path / "first", pooling("mean"), dense(32, 16))
    described = Encoder(first, device="cpu").describe()
    path = tmp_path / "first" / "2_Dense" / "model.safetensors"
    weights = {name: weight + 1 for name, weight in load_file(path).items()}
    save_file(weights, path)
    changed = Encoder(first, device="cpu").describe()
    assert {key for key in described if described[key] != changed[key]} == {"revision", "head_weights"}


def test_weights_from_elsewhere_are_another_embedding_store(tiny_encoder: str) -> None:
    from safetensors.torch import load_file

    weights = load_file(f"{tiny_encoder}/model.safetensors")
    described = [
        Encoder(tiny_encoder, device="cpu", weights=tensors).describe()
        for tensors in (weights, {name: weight * 2 for name, weight in weights.items()})
    ]
    assert described[0]["transformer_weights"] != described[1]["transformer_weights"]


def test_an_option_pools_in_another_way_and_keeps_the_head(tmp_path: Path) -> None:
    chosen = save(tmp_path / "chosen", pooling("cls"), dense(32, 16))
    other = save(tmp_path / "other", pooling("mean"), dense(32, 16))
    assert torch.equal(similarities(other, pooling="cls"), similarities(chosen))
    joined = save(tmp_path / "joined", pooling("cls", "mean"), dense(64, 16))
    with pytest.raises(ModelError, match=r"joins the poolings cls and mean\. Leave the option pooling out"):
        Encoder(joined, pooling="mean")


def test_a_pooler_that_is_read_must_have_weights(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    save(folder, pooling("mean"))
    settings = json.loads((folder / "sentence_bert_config.json").read_text())
    settings["modality_config"]["text"]["method_output_name"] = "pooler_output"
    settings["module_output_name"] = "sentence_embedding"
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings))
    (folder / "modules.json").write_text(json.dumps(json.loads((folder / "modules.json").read_text())[:1]))
    weights = load_file(folder / "model.safetensors")
    pooler = {"pooler.dense.weight": torch.eye(32), "pooler.dense.bias": torch.zeros(32)}
    save_file({**weights, **pooler}, folder / "model.safetensors", metadata={"format": "pt"})
    assert torch.allclose(similarities(str(folder)), theirs(str(folder)), atol=1e-5)
    without = {name: weight for name, weight in weights.items() if name not in pooler}
    save_file(without, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 2 weights.*pooler\.dense\.bias"):
        Encoder(str(folder), device="cpu")


@pytest.mark.parametrize("similarity", ["euclidean", "manhattan"])
def test_a_distance_is_refused_unless_another_similarity_is_chosen(tmp_path: Path, similarity: str) -> None:
    folder = save(tmp_path / "model", pooling("mean"), similarity_fn_name=similarity)
    with pytest.raises(ModelError, match=f"{similarity}.*Set the option similarity to cosine or dot"):
        Encoder(folder, device="cpu")
    assert Encoder(folder, device="cpu", similarity="dot").encode(["bees"]).norm() != pytest.approx(1)


def test_prompts_that_the_library_does_not_use_are_said(tmp_path: Path) -> None:
    plain = save(tmp_path / "plain", pooling("mean"), prompts={"document": "text: ", "passage": "p: "})
    assert "'passage' are not used" not in Encoder(plain, device="cpu").notice
    ignored = save(tmp_path / "ignored", pooling("mean"), prompts={"passage": "p: "})
    assert "prompts 'passage' are not used" in Encoder(ignored, device="cpu").notice
    assert Encoder(ignored, device="cpu", passage_prefix="p: ").notice == ""


def test_a_pooling_without_an_option_is_auto_in_checkpoints(tmp_path: Path) -> None:
    poolings = {("mean",): "mean", ("lasttoken",): "last_token", ("max",): "auto", ("cls", "mean"): "auto"}
    for modes, option in poolings.items():
        folder = save(tmp_path / "+".join(modes), pooling(*modes))
        assert Encoder(folder, device="cpu").pooling_option == option
