"""No method scores texts that its tokenizer cannot read."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path
from typing import Any

import pytest

from rerankers import create
from rerankers.errors import ModelError
from rerankers.models.vocabulary import check_vocabulary

ROOT = Path(__file__).parents[3]
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")


def without_tokenizer(source: str, folder: Path) -> str:
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*TOKENIZER_FILES))
    return str(folder)


@pytest.mark.parametrize(
    ("kind", "fixture"),
    [
        ("cross-encoder", "tiny_classifier"),
        ("embedding", "tiny_encoder"),
        ("late-interaction", "tiny_multi_vector"),
        ("mono-t5", "tiny_t5"),
    ],
)
def test_a_model_without_tokenizer_files_is_refused_instead_of_reading_unknown_words(
    kind: str, fixture: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = without_tokenizer(request.getfixturevalue(fixture), tmp_path / "model")
    with pytest.raises(ModelError, match=r"tokenizer has \d+ entries and .* beside config.json"):
        create(kind, {"model": folder})


def test_a_language_model_without_tokenizer_files_is_refused(tmp_path: Path, tiny_llm: str) -> None:
    folder = Path(without_tokenizer(tiny_llm, tmp_path / "model"))
    config = (folder / "config.json").read_text(encoding="utf-8")
    qwen = config.replace('"llama"', '"qwen2"').replace("LlamaForCausalLM", "Qwen2ForCausalLM")
    (folder / "config.json").write_text(qwen, encoding="utf-8")  # its tokenizer is empty where files lack
    with pytest.raises(ModelError, match="finds no token in"):
        create("query-likelihood", {"model": str(folder)})


def word_level(words: list[str]) -> Any:
    """Return a tokenizer of whole words, whose unknown token is the first."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    make: Any = PreTrainedTokenizerFast
    backend = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[0]))
    backend.pre_tokenizer = Whitespace()
    return make(tokenizer_object=backend, unk_token=words[0])


def test_a_vocabulary_of_other_words_is_refused_even_though_it_is_not_empty() -> None:
    with pytest.raises(ModelError, match="4 entries and reads"):
        check_vocabulary("odd", word_level(["[UNK]", "qqq", ".", ","]))


@pytest.mark.parametrize(
    ("kind", "fixture"),
    [
        ("cross-encoder", "tiny_classifier"),
        ("embedding", "tiny_encoder"),
        ("late-interaction", "tiny_multi_vector"),
        ("mono-t5", "tiny_t5"),
        ("query-likelihood", "tiny_llm"),
    ],
)
def test_a_tokenizer_with_more_words_than_the_model_has_embeddings_is_refused(
    kind: str, fixture: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from transformers import AutoTokenizer

    folder = tmp_path / "model"
    shutil.copytree(request.getfixturevalue(fixture), folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["queen"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"the id \d+, but the model has \d+ embeddings"):
        create(kind, {"model": str(folder)})


@pytest.mark.parametrize(
    ("kind", "fixture", "options"),
    [
        ("mono-t5", "tiny_t5", {}),
        ("query-likelihood", "tiny_llm", {}),
        ("causal-yes-no", "tiny_llm", {"prompt": "qwen3"}),
    ],
)
def test_a_slow_tokenizer_that_cannot_cut_passages_is_refused_when_the_model_is_loaded(
    kind: str, fixture: str, options: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = Path(without_tokenizer(request.getfixturevalue(fixture), tmp_path / "model"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}', encoding="utf-8")
    with pytest.raises(ModelError, match="ByT5Tokenizer is a slow tokenizer"):
        create(kind, {"model": str(folder), **options})


def test_byte_tokenizers_and_those_of_one_other_script_are_not_refused() -> None:
    from transformers import ByT5Tokenizer, CanineTokenizer

    check_vocabulary("russian", word_level(["[UNK]", "улье"]))
    check_vocabulary("bytes", ByT5Tokenizer())
    characters: Any = CanineTokenizer
    check_vocabulary("characters", characters())


def test_every_tokenizer_is_loaded_by_the_function_that_checks_it() -> None:
    loaders = {
        f"{path.relative_to(ROOT)}"
        for package in ("rerankers", "benchmarks", "reports")
        for path in (ROOT / package).rglob("*.py")
        if "micro" not in path.parts  # timings against other libraries, which load their own
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr == "from_pretrained"
        and "Tokenizer" in ast.unparse(node.value)
    }
    assert loaders == {"rerankers/models/vocabulary.py"}
