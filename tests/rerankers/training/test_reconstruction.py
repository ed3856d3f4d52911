"""Held-out passages are rebuilt from their embeddings, before and after the alignment."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from rerankers.llm.causal import CausalLM
from rerankers.pe_rank.prompt import PromptTemplate, PromptWriter
from rerankers.training.data.examples import AlignmentExamples
from rerankers.training.data.records import AlignmentRecord
from rerankers.training.data.vectors import TextRows
from rerankers.training.model import Objective, TrainableRanker
from rerankers.training.reconstruction import MEASURES, Reconstruction
from rerankers.training.run import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers.training.settings import Settings

TEXTS = ("the harbour", "a violin", "sand and maple", "the press")


def record(text: str) -> AlignmentRecord:
    message = {"role": "user", "content": "Say it: <PLACEHOLDER>"}
    return AlignmentRecord((message, {"role": "assistant", "content": text}), (text,))


def test_what_is_measured_is_the_cross_entropy_of_the_passages_tokens(tiny_llm: str) -> None:
    base = CausalLM(tiny_llm, dtype="float32", device="cpu")
    writer = PromptWriter(base.tokenizer, PromptTemplate())
    records, rows = [record(text) for text in TEXTS[:2]], TextRows()
    examples = AlignmentExamples(records, writer, rows, 512)
    torch.manual_seed(1)
    projector = torch.nn.Linear(3, 64)
    vectors = np.eye(2, 3, dtype=np.float32)
    model = TrainableRanker(base.model, projector, Objective())
    measured = Reconstruction(records, examples, vectors, base.tokenizer).measure(model)

    def by_hand(sources: list[int | None]) -> float:
        losses = []
        for example, source in zip(records, sources, strict=True):
            prompt = writer.write_messages(example.messages, 1)
            prompt_length = len(writer.write_messages(example.messages[:1], 1).token_ids)
            table = base.model.get_input_embeddings().weight
            inputs = [table[token] for token in prompt.token_ids[: prompt.placeholders[0]]]
            inputs += [] if source is None else [projector(torch.from_numpy(vectors[source]))]
            inputs += [table[token] for token in prompt.token_ids[prompt.placeholders[0] + 1 :]]
            with torch.no_grad():
                logits = base.model(inputs_embeds=torch.stack(inputs)[None]).logits[0].double()
            shift = -1 if source is None else 0
            for place in range(prompt_length, len(prompt.token_ids)):
                row = logits[place + shift - 1]
                losses.append(float(row.logsumexp(0) - row[prompt.token_ids[place]]))
        return sum(losses) / len(losses)

    assert measured["rebuilt_cross_entropy"] == pytest.approx(by_hand([0, 1]), rel=1e-4)
    assert measured["rebuilt_cross_entropy_other"] == pytest.approx(by_hand([1, 0]), rel=1e-4)
    assert measured["rebuilt_cross_entropy_without"] == pytest.approx(by_hand([None, None]), rel=1e-4)
    assert set(measured) == set(MEASURES)


def test_a_projector_that_learns_passages_by_heart_writes_them(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"messages": list(example.messages), "extra_texts": list(example.extra_texts)}
        for example in map(record, TEXTS)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    settings = make_settings(
        "align",
        tune="full",  # the projector alone cannot make a random model write
        data={"train": str(path), "validation": str(path)},
        prompt=None,
        optimizer={"learning_rate": 1e-2, "batch_size": 4, "max_steps": 60},
    )
    messages: list[str] = []
    outcome = train("align", settings, tmp_path / "run", messages.append, use_cpu=True)
    log: list[dict[str, Any]] = [
        json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    ]
    first, last = (line for line in log if "rebuilt_words" in line)
    assert (first["step"], last["step"]) == (0, 60)
    assert last["rebuilt_cross_entropy"] < 0.1 < first["rebuilt_cross_entropy"]
    assert last["rebuilt_words"] == 1.0
    assert last["rebuilt_words_other"] < 0.5
    assert last["rebuilt_cross_entropy_other"] > 10 * last["rebuilt_cross_entropy"]
    assert any(line.startswith("step 0: rebuilt_cross_entropy") for line in messages)
    card = (outcome.checkpoint / "README.md").read_text()
    assert f"| {first['rebuilt_cross_entropy']:.4g} | {last['rebuilt_cross_entropy']:.4g} |" in card
    assert outcome.next.startswith("rerankbench train rank CONFIG --set init_from=")
    assert not math.isnan(last["rebuilt_cross_entropy_without"])
