"""Chat models and doc2query models write questions; faults are counted, and nothing is paid twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.training_data.distillation import distill
from benchmarks.training_data.distillation_settings import load_distillation
from benchmarks.training_data.queries.chat import has_questions, read_questions
from benchmarks.training_data.queries.settings import Seq2SeqQuestions
from rerankers.chat.conversation import ChatCompletion
from rerankers.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.training_data.queries.writers import Question


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path / "cache"))


def questions(folder: Path, name: str = "lists") -> dict[str, list[dict[str, Any]]]:
    rows = [json.loads(line) for line in (folder / f"{name}.queries.jsonl").read_text().splitlines()[1:]]
    return {row["doc_id"]: row["questions"] for row in rows}


@pytest.mark.parametrize(
    ("text", "end", "count", "expected"),
    [
        ('1. What is paging?\n\n2) "Why page?"', "done", 2, ["What is paging?", "Why page?"]),
        ("- **What is paging?**", "done", 1, ["What is paging?"]),
        ("Q1: What is paging?", "done", 1, ["What is paging?"]),
        ("3.5 inch disks", "done", 1, ["3.5 inch disks"]),
        ("Here are two:\na b\nc d\ne f", "done", 2, ["Here are two: malformed", "a b", "c d", "e f surplus"]),
        ("a b", "done", 2, ["a b", " missing"]),
        ("a b\nc d", "cut_off", 2, ["a b", "c d cut_off"]),
        ("a b\nc d", "cut_off", 1, ["a b", "c d surplus"]),
        ("a b\nc d\n", "known", 2, ["a b", "c d"]),
        ("", "done", 1, [" missing"]),
        ("half", "refused", 2, [" refused", " refused"]),
    ],
)
def test_questions_are_read_from_an_answer(text: str, end: Any, count: int, expected: list[str]) -> None:
    read = read_questions(ChatCompletion(text, end), count)
    assert [
        f"{question.text} {question.fault}" if question.fault else question.text for question in read
    ] == expected


@pytest.mark.parametrize(
    ("text", "is_whole"),
    [("a b", False), ("a b\n", False), ("a b\nc d", False), ("a b\nc d\n", True), ("Two:\na b\n\n", False)],
)
def test_an_answer_ends_once_its_questions_are_whole(text: str, is_whole: bool) -> None:
    assert has_questions(text, 2) is is_whole


def test_an_endpoint_is_asked_once_for_each_passage_and_replayed_afterwards(
    collection: Path, write_settings: Callable[..., Path], chat_endpoint: Any
) -> None:
    def answer(prompt: str) -> tuple[str, str]:
        subject = prompt.split("Read this passage:\n\n")[1].split("\n")[0]
        return f"1. what is {subject}?\n2. what is {subject}", "stop"

    chat_endpoint.answer = answer
    source = {
        "kind": "chat",
        "model": "scripted",
        "base_url": chat_endpoint.url,
        "recording": str(collection / "answers.sqlite"),
        "price": {"input": 1.0, "output": 10.0},
        "per_passage": 2,
        "passage_words": 3,
    }
    path = str(write_settings(queries=source, budget=1.0))
    assert distill(load_distillation(path), collection / "lists.jsonl") == 7
    assert len(chat_endpoint.prompts) == 8  # one passage has no text; two begin with the same three words
    [first, second] = questions(collection)["d1"]
    assert first == {"query_id": "d1/0", "query": "what is Paging in Virtual?"}
    assert second["fault"] == "duplicate"
    ledger = (collection / "lists.jsonl.spending").read_text().splitlines()
    assert sum(json.loads(line)["dollars"] for line in ledger) == pytest.approx(
        8 * (1000 * 1.0 + 100 * 10.0) / 1e6
    )
    assert distill(load_distillation(path), collection / "again.jsonl") == 7
    assert len(chat_endpoint.prompts) == 8  # from the response cache
    assert questions(collection, "again") == questions(collection)


def test_no_question_is_asked_that_the_budget_may_not_hold(
    collection: Path, write_settings: Callable[..., Path], chat_endpoint: Any
) -> None:
    source = {
        "kind": "chat",
        "model": "scripted",
        "base_url": chat_endpoint.url,
        "price": {"input": 1.0, "output": 10.0},
        "concurrency": 1,
        "batch": 1,
    }
    path = str(write_settings(queries=source, budget=0.005))
    with pytest.raises(BackendError, match="exceed the budget"):
        distill(load_distillation(path), collection / "lists.jsonl")
    assert 1 <= len(chat_endpoint.prompts) <= 2  # 0.002 dollars each, and what the next could cost at most
    [*paid] = (
        question for [question] in questions(collection).values() if question.get("fault") != "no_text"
    )
    assert len(paid) == len(chat_endpoint.prompts)  # what was paid for stays


def ending(model: str, folder: Path, **settings: Any) -> str:
    """Return a copy of a random model that ends its answers, as a trained one does."""
    copied = Path(shutil.copytree(model, folder))
    path = copied / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return str(copied)


def test_a_chat_model_in_this_process_writes_questions(
    collection: Path, write_settings: Callable[..., Path], tiny_llm: str
) -> None:
    model = ending(tiny_llm, collection / "llm", eos_token_id=list(range(0, 300, 3)))
    source = {"kind": "chat", "backend": "transformers", "model": model, "max_new_tokens": 30}
    path = str(write_settings(queries={**source, "shortest_words": 1}))
    count = distill(load_distillation(path), collection / "lists.jsonl")
    rows = questions(collection)
    assert set(rows) == {f"d{number}" for number in range(9)}
    assert count == sum("fault" not in question for row in rows.values() for question in row) > 0


def t5(model: str, **options: Any) -> dict[str, Any]:
    return {"kind": "seq2seq", "model": model, "max_new_tokens": 5, "shortest_words": 1, **options}


def written(model: str, batch: int, seed: int = 0, **options: Any) -> list[list[Question]]:
    from benchmarks.training_data.queries.seq2seq import Seq2SeqWriter

    source = Seq2SeqQuestions.model_validate(t5(model, batch=batch, dtype="float32", **options))
    writer = Seq2SeqWriter(source, seed)
    passages = [(f"d{number}", "frost and leaves " * (number + 1)) for number in range(4)]
    return [
        questions_of_passage
        for start in range(0, 4, batch)
        for questions_of_passage in writer.write(passages[start : start + batch])
    ]


def test_a_t5_draws_the_same_questions_in_any_batch(tiny_t5: str) -> None:
    alone, together = written(tiny_t5, 1, per_passage=3), written(tiny_t5, 4, per_passage=3)
    assert alone == together
    assert all(len(questions_of_passage) == 3 for questions_of_passage in alone)
    assert len({question.text for questions_of_passage in alone for question in questions_of_passage}) > 4
    assert written(tiny_t5, 4, seed=1, per_passage=3) != together


def test_a_t5_without_draws_writes_what_transformers_generates(tiny_t5: str) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_t5)
    model: Any = AutoModelForSeq2SeqLM.from_pretrained(tiny_t5)
    [first, *_] = written(tiny_t5, 4, top_k=1, prefix="ask: ")
    inputs = tokenizer("ask: frost and leaves ", return_tensors="pt")
    generated = model.generate(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=5
    )
    assert first[0].text == tokenizer.decode(generated[0], skip_special_tokens=True).strip()


def test_draws_follow_the_models_probabilities() -> None:
    import torch

    from benchmarks.training_data.queries.seq2seq import GumbelDraws

    scores: Any = torch.tensor([2.0, 1.0, 0.0, -9.0]).log_softmax(-1).expand(4000, 4).clone()
    before: Any = torch.zeros(4000, 1, dtype=torch.long)
    generators = [torch.Generator().manual_seed(seed) for seed in range(4000)]
    drawn = GumbelDraws(3, generators)(before, scores).argmax(-1)
    shares = torch.bincount(drawn, minlength=4) / 4000
    expected = torch.tensor([2.0, 1.0, 0.0]).softmax(-1)
    assert shares[3] == 0  # beyond the three most probable
    assert torch.allclose(shares[:3], expected, atol=0.03)  # four standard deviations of 0.0075


def test_a_t5_makes_training_queries(
    collection: Path, write_settings: Callable[..., Path], tiny_t5: str
) -> None:
    model = ending(tiny_t5, collection / "t5", forced_eos_token_id=1, eos_token_id=1)
    path = str(write_settings(queries=t5(model, per_passage=3, batch=3)))
    count = distill(load_distillation(path), collection / "lists.jsonl")
    rows = questions(collection)
    assert [len(rows[f"d{number}"]) for number in range(8)] == [3] * 8
    assert count == sum("fault" not in question for row in rows.values() for question in row) > 8
