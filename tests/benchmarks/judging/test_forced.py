"""Forced grades: the most likely of the four, from a model in this process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from benchmarks.cli.main import main
from benchmarks.judging.prompt import umbrela
from benchmarks.results.judgements import grades_of, judges

if TYPE_CHECKING:
    import pytest

    from .conftest import Grader


TOKENIZER = Path(__file__).parents[2] / "golden" / "e2rank"  # a chat template, and a token for each digit

THOUGHTLESS = "template_variables={enable_thinking: false}"


def save_small_model(folder: Path, seed: int) -> None:
    """Save a random Llama of one layer with this tokenizer."""
    tokenizer: Any = AutoTokenizer.from_pretrained(TOKENIZER)
    torch.manual_seed(seed)
    make: Any = LlamaForCausalLM
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        initializer_range=0.5,
    )
    make(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def most_likely(model: Any, tokenizer: Any, query: str, passage: str) -> int:
    """Return the grade of the largest logit after the beginning of an answer, computed prompt by prompt."""
    messages = umbrela().messages(query, passage)
    text = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
    answers = [
        tokenizer(f"##final score: {grade}", add_special_tokens=False)["input_ids"] for grade in range(4)
    ]
    with torch.no_grad():
        logits = model(torch.tensor([prompt + answers[0][:-1]])).logits[0, -1]
    return int(logits[[answer[-1] for answer in answers]].argmax())


def test_a_forced_grade_is_the_one_that_the_model_finds_most_likely(results: Path, tmp_path: Path) -> None:
    all_grades = set()
    for seed in (0, 1):  # models of unlike tastes
        folder = tmp_path / f"model{seed}"
        save_small_model(folder, seed)
        model = ["--model", str(folder), "--option", "backend=transformers", "device=cpu", THOUGHTLESS]
        assert main(["judge", str(results), *model, "--reading", "forced", "--agreement", "4"]) == 0
        [(name, about)] = [each for each in judges(results).items() if each[1].model == str(folder)]
        [(pool, judged)] = about.sets.items()
        assert (judged.filled, judged.repeated, judged.faults) == (8, 4, {})
        assert "forced" in name
        assert "forced" in about.prompt
        assert "final score" in str(about.described["reading"])
        network: Any = AutoModelForCausalLM.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        for query_id, grades in grades_of(results, name, about, pool).items():
            for doc_id, grade in grades.items():
                passage = f"worth {int(doc_id[1:]) % 4}"
                assert grade == most_likely(network, tokenizer, f"query {query_id}", passage)
                all_grades.add(grade)
    assert len(all_grades) > 1


def test_an_endpoint_s_grades_cannot_be_forced(
    results: Path, grader: Grader, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["judge", str(results), "--model", "scripted", "--option", f"base_url={grader.url}"]
    assert main([*words, "--reading", "forced"]) == 2
    assert "backend=transformers" in capsys.readouterr().err
    assert not grader.prompts
