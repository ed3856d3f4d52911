"""What presets and a model's own files say about it, read strictly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from rerankers.encoders.encoder import Encoder
from rerankers.encoders.folder import read_folder
from rerankers.encoders.recipe import Recipe, find_recipe, presets
from rerankers.errors import ModelError
from rerankers.models.locate import find_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODULES = [{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}]
TRANSFORMER, POOLING = (
    {**row, "type": row["type"].replace("x.", "sentence_transformers.models.")} for row in MODULES
)
SETTINGS = "config_sentence_transformers_json"
DENSE = {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}


ROUTER = {"path": "", "type": "sentence_transformers.base.modules.router.Router"}


def folder_with(folder: Path, **contents: Any) -> str:
    """Return a model's folder with these JSON files: values, or texts as they are written."""
    for name, content in contents.items():
        path = folder / name.replace("__", "/").replace("_json", ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(folder)


def test_a_length_of_the_models_own_is_kept(tmp_path: Path) -> None:
    folder_with(tmp_path, sentence_bert_config_json={"max_seq_length": 256})
    assert read_folder(find_model(str(tmp_path))).max_length == 256


def test_every_preset_is_a_recipe_with_its_source() -> None:
    for name, preset in presets().items():
        assert preset["source"] == f"https://huggingface.co/{name}"
        assert find_recipe(name).pooling == preset["pooling"]
    assert find_recipe("org/unknown") == Recipe()


def test_bge_queries_take_the_instruction_and_passages_do_not() -> None:
    recipe = find_recipe("BAAI/bge-base-en-v1.5")
    assert recipe.pooling == "cls"
    assert recipe.query_prefix == "Represent this sentence for searching relevant passages: "
    assert recipe.passage_prefix is None


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        ({"sentence_bert_config_json": {"max_seq_length": 0}}, "max_seq_length is 0, which is no length"),
        (
            {"sentence_bert_config_json": {"max_seq_length": True}},
            "max_seq_length is True, which is no length",
        ),
        ({"sentence_bert_config_json": {"max_seq_length": "long"}}, "'long', which is no length"),
        ({"sentence_roberta_config_json": {"max_seq_length": -1}}, r"roberta_config\.json: .* is -1"),
        ({"sentence_bert_config_json": {"do_lower_case": "no"}}, "do_lower_case is 'no'.*true or false"),
        ({"sentence_bert_config_json": "[256]"}, r"sentence_bert_config\.json: no JSON object; download"),
        ({"sentence_bert_config_json": "{"}, r"sentence_bert_config\.json: damaged .*; download .* again"),
        (
            {"sentence_bert_config_json": '{"max_seq_length": 8, "max_seq_length": 512}'},
            r"sentence_bert_config\.json: the key 'max_seq_length' stands twice",
        ),
        ({"config_json": '{"hidden_size": 8, "hidden_size": 9}'}, r"config\.json: the key 'hidden_size' st"),
        ({"tokenizer_config_json": '{"a": 1, "a": 1}'}, r"tokenizer_config\.json: the key 'a' stands twice"),
        ({"modules_json": {"0": "Transformer"}}, r"modules\.json: no JSON list"),
        ({"modules_json": []}, r"modules\.json is an empty list"),
        ({"modules_json": [{"path": ""}]}, r"modules\.json: a row lacks its type or its path"),
        (
            {"modules_json": [{"path": "", "type": "own.Module"}]},
            r"names the module 'own\.Module'",
        ),
        ({"modules_json": [{**TRANSFORMER, "path": "../x"}]}, r"'\.\./x' lies outside the model"),
        (
            {"modules_json": [TRANSFORMER, POOLING], "1_Pooling__config_json": {"pooling_mode": "middle"}},
            r"1_Pooling/config\.json: pooling_mode is 'middle'.*mean_sqrt_len_tokens",
        ),
        (
            {"modules_json": [POOLING], "1_Pooling__config_json": {"pooling_mode_mean_tokens": 1}},
            r"1_Pooling/config\.json: pooling_mode_mean_tokens is 1.*true or false",
        ),
        (
            {"modules_json": [DENSE], "2_Dense__config_json": {"activation_function": "torch.hub.load"}},
            r"activation 'torch\.hub\.load', which is not called.*Tanh",
        ),
        ({"modules_json": [{**DENSE, "type": "sentence_transformers.models.WordEmbeddings"}]}, "WordEmbedd"),
        (
            {"modules_json": [ROUTER], "router_config_json": {"types": {"a": "own.Module"}}},
            r"names the module 'own\.Module'",
        ),
        (
            {SETTINGS: {"similarity_fn_name": "maxsim"}},
            "similarity_fn_name is 'maxsim'.*cosine, dot",
        ),
        (
            {
                SETTINGS: {
                    "prompts": {"query": "q: "},
                    "default_prompt_name": "web",
                }
            },
            "default_prompt_name is 'web', but prompts has 'query'",
        ),
        ({SETTINGS: {"prompts": ["q: "]}}, "prompts is not an object of texts"),
        ({SETTINGS: {"truncate_dim": True}}, "truncate_dim is True"),
        (
            {SETTINGS: {"model_type": "CrossEncoder"}},
            "is a CrossEncoder, not a SentenceTransformer.*another reranker",
        ),
    ],
)
def test_files_that_say_nothing_sensible_are_refused(
    tmp_path: Path, contents: dict[str, Any], says: str
) -> None:
    with pytest.raises(ModelError, match=says):
        read_folder(find_model(folder_with(tmp_path, **contents)))


NO_POOLING: dict[str, Callable[[Path], object]] = {
    "no modules": lambda folder: (folder / "modules.json").unlink(),
    "no pooling file": lambda folder: (folder / "1_Pooling" / "config.json").unlink(),
    "no pooling chosen": lambda folder: folder_with(
        folder, **{"1_Pooling__config_json": {"pooling_mode_mean_tokens": False}}
    ),
    "no pooling module": lambda folder: folder_with(folder, modules_json=[{**TRANSFORMER, "name": "0"}]),
}


@pytest.mark.parametrize("name", NO_POOLING)
def test_a_pooling_is_never_guessed(copied_encoder: Path, name: str) -> None:
    NO_POOLING[name](copied_encoder)
    with pytest.raises(ModelError, match=r"pooling.*mean.*cls.*last_token"):
        Encoder(str(copied_encoder), device="cpu")
    assert Encoder(str(copied_encoder), device="cpu", pooling="cls").pooling == "cls"


def test_a_head_is_never_fed_with_a_pooling_of_ones_own(copied_encoder: Path) -> None:
    folder_with(copied_encoder, modules_json=[TRANSFORMER, POOLING, DENSE], **{"2_Dense__config_json": {}})
    (copied_encoder / "1_Pooling" / "config.json").unlink()
    with pytest.raises(ModelError, match=r"lacks 1_Pooling/config\.json.*Dense depends"):
        Encoder(str(copied_encoder), device="cpu", pooling="mean")


@pytest.mark.parametrize(("length", "needed"), [(1, 3), (2, 3)])
def test_a_length_that_leaves_no_token_for_the_text_is_refused(
    copied_encoder: Path, length: int, needed: int
) -> None:
    with pytest.raises(ModelError, match=f"longest query is {length} tokens.*at least {needed}"):
        Encoder(str(copied_encoder), device="cpu", max_length=length)
    folder_with(copied_encoder, sentence_bert_config_json={"max_seq_length": length})
    with pytest.raises(ModelError, match=rf"sentence_bert_config\.json: .*is {length} tokens"):
        Encoder(str(copied_encoder), device="cpu")
    with pytest.raises(ModelError, match="the prefix 'find: ' fill"):
        Encoder(str(copied_encoder), device="cpu", max_length=4, query_prefix="find: ")


def test_a_layer_norm_larger_than_all_weights_is_refused_before_it_is_made(copied_encoder: Path) -> None:
    folder_with(copied_encoder, **{"2_LayerNorm__config_json": {"dimension": 10**10}})
    with pytest.raises(ModelError, match=r"2_LayerNorm/config\.json: dimension"):
        find_model(str(copied_encoder))
