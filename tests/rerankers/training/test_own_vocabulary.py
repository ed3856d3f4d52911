"""All stages train language models whose embedding has no row to spare for the placeholder."""

from __future__ import annotations

import itertools
import json
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
)

from rerankers import RerankRequest, StageClock
from rerankers.errors import InputError
from rerankers.methods.pe_rank import PERankOptions
from rerankers.pe_rank.prompt import PLACEHOLDER, PromptTemplate, PromptWriter
from rerankers.pe_rank.reranker import PERank
from rerankers.training.data.examples import AlignmentExamples
from rerankers.training.data.records import AlignmentRecord
from rerankers.training.data.vectors import TextRows
from rerankers.training.export import export_published, truncate_adapter
from rerankers.training.run import train

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerankers.training.run import Outcome
    from rerankers.training.settings import Settings, Stage

    Make = Callable[..., Settings]

CONFIGS = {"llama": LlamaConfig, "mistral": MistralConfig}
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEXTS = ["the harbour at dawn", "a violin of maple", "sand and frost", "the old press"]


@pytest.fixture(params=sorted(CONFIGS))
def exact_llm(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a random language model with exactly as many embedding rows as its tokenizer has tokens."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(TEXTS, trainer)
    wrap: Any = PreTrainedTokenizerFast
    end = "</s>"
    tokenizer = wrap(tokenizer_object=inner, eos_token=end, pad_token=end)
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = CONFIGS[request.param](
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    folder = tmp_path / request.param
    network: Any = AutoModelForCausalLM
    network.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Alignment records; the answer of the last one holds a placeholder too."""
    path = tmp_path / "pairs.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for text in TEXTS:
            answer = text if text != TEXTS[-1] else f"{PLACEHOLDER} is {text}"
            count = 1 + answer.count(PLACEHOLDER)
            turns = [
                {"role": "user", "content": f"Say it: {PLACEHOLDER}"},
                {"role": "assistant", "content": answer},
            ]
            file.write(json.dumps({"messages": turns, "extra_texts": [text] * count}) + "\n")
    return path


def trained(stage: Stage, settings: Settings, folder: Path) -> Outcome:
    outcome = train(stage, settings, folder, lambda _: None, use_cpu=True)
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert all(math.isfinite(line["loss"]) for line in rows if "loss" in line)
    return outcome


def test_all_stages_train_a_model_without_spare_embedding_rows(
    make_settings: Make,
    exact_llm: str,
    pairs: Path,
    make_request: Callable[..., RerankRequest],
    tmp_path: Path,
) -> None:
    llm = {"model": exact_llm}
    optimizer = {"learning_rate": 3e-3, "batch_size": 4, "max_steps": 2}
    align = make_settings(
        "align",
        llm=llm,
        tune="projector",
        data={"train": str(pairs), "validation": None},
        prompt=None,
        optimizer=optimizer,
    )
    start = str(trained("align", align, tmp_path / "align").checkpoint)
    later: list[tuple[Stage, bool]] = [("query", False), ("rank", True)]
    for stage, with_text in later:
        settings = make_settings(
            stage,
            llm=llm,
            init_from=start,
            prompt=None,
            loss={"with_text": with_text, "first_step": {"weight": 1.0}},
            optimizer=optimizer,
        )
        start = str(trained(stage, settings, tmp_path / stage).checkpoint)
    truncate_adapter(Path(start), tmp_path / "small", rank=2)
    export_published(Path(start), tmp_path / "exported")
    request = make_request("frost", TEXTS)
    for checkpoint in (start, str(tmp_path / "small"), str(tmp_path / "exported")):
        clock = StageClock(now=partial(next, itertools.count(0.0)))
        reranker = PERank(PERankOptions(model=checkpoint, dtype="float32", device="cpu"))
        assert sorted(reranker.rerank([request], clock)[0].doc_ids) == ["d0", "d1", "d2", "d3"]


def test_alignment_never_asks_for_an_embedding_or_a_label_of_the_placeholder(exact_llm: str) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(exact_llm)
    rows = len(tokenizer)
    writer = PromptWriter(tokenizer, PromptTemplate())
    turns = (
        {"role": "user", "content": f"Say it: {PLACEHOLDER}"},
        {"role": "assistant", "content": f"{PLACEHOLDER} frost"},
    )
    record = AlignmentRecord(turns, ("sand", "frost"))
    sequence = (
        AlignmentExamples([record], writer, TextRows(), 512).visit(0, np.random.default_rng(0)).sequence
    )
    assert sequence.sources[sequence.sources >= 0].tolist() == [0, 1]
    assert sequence.token_ids.max() < rows
    assert sequence.labels is not None
    assert sequence.labels.max() < rows
    learned = sequence.labels[sequence.labels >= 0]
    assert tokenizer.decode(learned) == " frost</s>"
    with pytest.raises(InputError, match=r"record 1: has \d+ tokens before its answer; raise max_length"):
        AlignmentExamples([record], writer, TextRows(), sequence.end + 1)
