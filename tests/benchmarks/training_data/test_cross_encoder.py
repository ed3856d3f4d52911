"""A cross-encoder is trained on scored lists, and the reranker loads what was kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.training_data.cross_encoder import Settings, draws, main, read_lists
from rerankers import RerankRequest, StageClock, create
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

ROW = {
    "query_id": "stone/0",
    "query": "stone",
    "passages": ["wood burns", "stone lasts", "paper tears"],
    "ranking": [2, 1, 0],
    "scores": [0.3, 0.2, 0.1],
    "doc_ids": ["wood", "stone", "paper"],
}


def write_lists(folder: Path, row: Mapping[str, object]) -> Path:
    path = folder / "lists.jsonl"
    lines = [{"about": {"digest": "x"}}, row]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def settings_with(**changes: object) -> Settings:
    return Settings.model_validate({"model": "m", "train": ["t"], "dev": "d", **changes})


def test_labels_are_the_teachers_scores_and_the_source_of_a_query_gains(tmp_path: Path) -> None:
    settings = settings_with(temperature=0.1, source_bonus=4.0)
    (row,) = read_lists(write_lists(tmp_path, ROW), settings)
    assert row["labels"] == pytest.approx([1.0, 2.0 + 4.0, 3.0])  # in the order of the passages


def test_a_list_without_scores_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write_lists(tmp_path, {**ROW, "scores": []})
    with pytest.raises(InputError, match=r"lists\.jsonl:2: no `scores`"):
        read_lists(path, settings_with())


def test_each_reading_of_a_list_draws_passages_with_their_labels(tmp_path: Path) -> None:
    settings = settings_with(passages=2, steps=3, lists_per_step=2)
    lists = read_lists(write_lists(tmp_path, ROW), settings)
    drawn = draws(lists, settings)
    assert len(drawn) == 3 * 2
    label_of = dict(zip(lists[0]["docs"], lists[0]["labels"], strict=True))
    for row in drawn:
        assert row["labels"] == [label_of[text] for text in row["docs"]]
        assert len(set(row["docs"])) == 2
    assert len({tuple(row["docs"]) for row in drawn}) > 1


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of sentence-transformers
def test_what_was_kept_is_a_checkpoint_that_the_reranker_loads(
    tmp_path: Path, tiny_encoder: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    lists = write_lists(tmp_path, ROW)
    config = tmp_path / "train.yaml"
    config.write_text(
        f"{{model: {tiny_encoder}, train: [{lists}], dev: {lists}, passages: 3, max_length: 32, rank: 2, "
        "lists_per_step: 1, steps: 2, evaluate_every: 1}",
        encoding="utf-8",
    )
    main([str(config), "--out", str(tmp_path / "out")])
    looks = [json.loads(line) for line in (tmp_path / "out" / "dev.jsonl").read_text().splitlines()]
    assert [look["step"] for look in looks] == [0, 1, 2]
    reranker = create("cross-encoder", {"model": str(tmp_path / "out" / "model"), "device": "cpu"})
    assert reranker.describe()["architecture"] == "BertForSequenceClassification"
    assert reranker.describe()["max_length"] == 32
    (ranking,) = reranker.rerank([make_request("stone", ["wood burns", "stone lasts", "paper tears"])], clock)
    assert sorted(ranking.doc_ids) == ["d0", "d1", "d2"]
