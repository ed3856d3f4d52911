"""Settings and data of trainings: broken in every way, refused at their line before anything is loaded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.training_data.distillation_settings import load_distillation
from benchmarks.training_data.pe_rank import load_settings
from rerankers.pe_rank.prompt import PLACEHOLDER
from rerankers.training.data.records import read_alignment, read_ranking

if TYPE_CHECKING:
    from pathlib import Path

    from rerankers.training.settings import Stage

trial = settings(settings.get_profile("faults"))

SETTINGS: dict[str, Any] = {
    "llm": {"model": "org/llm", "dtype": "float32", "attention": "eager"},
    "encoder": [{"model": "org/encoder", "pooling": "mean", "max_length": 128}, {"model": "org/other"}],
    "data": {"train": "lists.jsonl", "validation": "dev.jsonl", "shuffle": True},
    "prompt": {"prefix": "{query}\n", "passage": " <PLACEHOLDER>", "suffix": "\nRanking:", "chat": False},
    "projector": {"kind": "mlp2x_gelu", "scale": 0.3},
    "tune": "lora",
    "lora": {"rank": 16, "alpha": 32, "dropout": 0, "target_modules": "all-linear"},
    "loss": {"discount": True, "with_text": False, "first_step": {"weight": 1.0, "temperature": 0.05}},
    "optimizer": {"learning_rate": 1e-3, "batch_size": 32, "max_steps": 200},
    "evaluate_every": 100,
    "out": "runs/small",
}
DISTILLATION: dict[str, Any] = {
    "dataset": {"folder": "text", "split": "train"},
    "first_stage": {"kind": "dense", "encoder": "org/encoder", "options": {"max_length": 128}},
    "candidates": {"depth": 200, "per_list": 20, "at": "mixed"},
    "teacher": {"name": "embedding", "options": {"model": "org/encoder"}},
    "queries": {"kind": "chat", "model": "m", "price": {"input": 1.0, "output": 2.0}, "per_passage": 2},
    "test_queries": ["beir/scifact/test", {"folder": "other", "split": "test"}, {"queries": "topics.tsv"}],
    "skip": 10,
    "limit": 100,
    "batch": 64,
    "seed": 1,
}
MADE: list[dict[str, Any]] = [
    {"kind": "titles", "field": "title", "longest_words": 20},
    {"kind": "seq2seq", "model": "org/t5", "per_passage": 2, "top_k": 10},
]
SLOTS = f"I give you {PLACEHOLDER} and {PLACEHOLDER}, by relevance to the search query: what.\n"
PLAIN = {"query": "what", "passages": ["a", "b"], "ranking": [1, 0]}
PUBLISHED = {
    "messages_w_content": [{"role": "user", "content": f"{SLOTS} a b"}],
    "messages_wo_content": [{"role": "user", "content": SLOTS}],
    "ranking": [2, 1],
    "extra_texts": ["a", "b", "b", "a"],
}
ALIGNMENT = {
    "messages": [
        {"role": "user", "content": f"Say it otherwise: {PLACEHOLDER}"},
        {"role": "assistant", "content": "a passage"},
    ],
    "extra_texts": ["a passage"],
}


def _file(folder: Path, content: bytes) -> Path:
    path = folder / "changed"
    path.write_bytes(content)
    return path


def _lines(*records: Any) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def test_the_files_are_right_before_they_are_broken(judge: Any, folder: Path) -> None:
    for value, read in ((SETTINGS, lambda path: load_settings("rank", path)), (DISTILLATION, _distillation)):
        path = _file(folder, yaml.safe_dump(value).encode())
        assert not judge.reading(read, path)
    assert not judge.reading(read_ranking, _file(folder, _lines(PLAIN, PUBLISHED)))
    assert not judge.reading(read_alignment, _file(folder, _lines(ALIGNMENT)))


def test_a_path_that_no_file_can_have_is_refused_by_the_name_of_the_settings(
    judge: Any, folder: Path
) -> None:
    wrong = {**DISTILLATION, "candidates": "x" * 300}
    assert judge.reading(_distillation, _file(folder, yaml.safe_dump(wrong).encode()))


def _distillation(path: Path) -> Any:
    return load_distillation(str(path))


@given(data=st.data())
@trial
def test_settings_of_a_training_with_wrong_values_are_refused(
    judge: Any, broken: Any, folder: Path, data: st.DataObject
) -> None:
    path = _file(folder, yaml.dump(data.draw(broken.value_of(SETTINGS)), sort_keys=False).encode())
    stage: Stage = data.draw(st.sampled_from(["align", "query", "rank"]))
    judge.reading(lambda path: load_settings(stage, path), path)


@given(data=st.data())
@trial
def test_settings_of_a_distillation_with_wrong_values_are_refused(
    judge: Any, broken: Any, folder: Path, data: st.DataObject
) -> None:
    content = yaml.dump(data.draw(broken.value_of(DISTILLATION)), sort_keys=False).encode()
    judge.reading(_distillation, _file(folder, content))


@given(data=st.data())
@trial
def test_settings_of_made_queries_with_wrong_values_are_refused(
    judge: Any, broken: Any, folder: Path, data: st.DataObject
) -> None:
    queries = data.draw(st.sampled_from(MADE).flatmap(broken.value_of))
    content = yaml.dump({**DISTILLATION, "queries": queries}, sort_keys=False).encode()
    judge.reading(_distillation, _file(folder, content))


@given(data=st.data())
@trial
def test_ranking_data_with_wrong_values_is_refused_at_its_line(
    judge: Any, broken: Any, dump: Any, folder: Path, data: st.DataObject
) -> None:
    changed = data.draw(st.sampled_from([PLAIN, PUBLISHED]).flatmap(broken.value_of))
    judge.reading(read_ranking, _file(folder, _lines(PLAIN) + dump(changed) + b"\n"))


@given(data=st.data())
@trial
def test_alignment_data_with_wrong_values_is_refused_at_its_line(
    judge: Any, broken: Any, dump: Any, folder: Path, data: st.DataObject
) -> None:
    changed = data.draw(broken.value_of(ALIGNMENT))
    judge.reading(read_alignment, _file(folder, _lines(ALIGNMENT) + dump(changed) + b"\n"))


@given(data=st.data())
@trial
def test_training_data_with_damaged_bytes_is_refused_at_its_line(
    judge: Any, broken: Any, folder: Path, data: st.DataObject
) -> None:
    read, records = data.draw(
        st.sampled_from([(read_ranking, (PLAIN, PUBLISHED)), (read_alignment, (ALIGNMENT, ALIGNMENT))])
    )
    judge.reading(read, _file(folder, data.draw(broken.bytes_of(_lines(*records)))))
