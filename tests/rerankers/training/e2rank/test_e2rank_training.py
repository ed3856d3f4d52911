from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file

from rerankers import create
from rerankers.errors import InputError
from rerankers.training.e2rank.data import read_lists
from rerankers.training.e2rank.settings import E2RankSettings
from rerankers.training.run import train as train_stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerankers import RerankRequest, StageClock

MODEL = Path(__file__).parents[3] / "golden" / "e2rank"


def settings_of(lists: Path, **changes: Any) -> E2RankSettings:
    optimizer = {"learning_rate": 1e-3, "batch_size": 4, "accumulation": 1, "max_steps": 4}
    content = {
        "llm": {"model": str(MODEL), "dtype": "float32"},
        "data": {"train": str(lists), "list_size": 4},
        "optimizer": {**optimizer, **changes.pop("optimizer", {})},
    }
    return E2RankSettings.model_validate(content | changes)


def train(settings: E2RankSettings, folder: Path, say: Callable[[str], None]) -> Path:
    return train_stage("e2rank", settings, folder, say, use_cpu=True).checkpoint


def losses_of(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_defaults_are_the_published_scripts() -> None:
    settings = E2RankSettings.model_validate({"llm": {"model": "m"}, "data": {"train": "t.jsonl"}})
    optimizer, loss = settings.optimizer, settings.loss
    assert (loss.temperature, loss.scale, loss.ranknet_weight) == (0.03, 10.0, 2.0)
    assert (optimizer.learning_rate, optimizer.schedule, optimizer.warmup) == (5e-6, "linear", 0.03)
    assert 8 * optimizer.batch_size * optimizer.accumulation == 128  # on eight GPUs
    lengths = settings.lengths
    assert (lengths.query, lengths.passage, lengths.prompt) == (512, 1024, 32768)


def test_held_out_lists_are_refused() -> None:
    with pytest.raises(ValueError, match="E2Rank has no validation"):
        settings_of(Path("lists.jsonl"), data={"train": "lists.jsonl", "validation": "more.jsonl"})


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_a_trained_model_is_one_that_e2rank_loads(
    tune: str, lists: Path, tmp_path: Path, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    lora = {"rank": 4, "alpha": 8, "dropout": 0.0, "target_modules": "all-linear"}
    model = train(settings_of(lists, tune=tune, lora=lora), tmp_path / "run", print)
    [ranking] = create("e2rank", {"model": str(model)}).rerank(
        [make_request("hive", ["fox", "frost"])], clock
    )
    assert len(ranking.doc_ids) == 2
    before, after = load_file(MODEL / "model.safetensors"), load_file(model / "model.safetensors")
    changed = [name for name, weight in after.items() if not torch.equal(weight, before[f"model.{name}"])]
    assert len(after) == len(before)
    assert "layers.0.mlp.up_proj.weight" in changed
    assert ("norm.weight" in changed) == (tune == "full")


def test_training_lowers_both_losses(lists: Path, tmp_path: Path) -> None:
    optimizer = {"max_steps": 12, "batch_size": 8}
    train(settings_of(lists, data={"train": str(lists)}, optimizer=optimizer), tmp_path, print)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["info_nce"] < lines[0]["info_nce"]
    assert lines[-1]["rank_net"] < lines[0]["rank_net"]


def test_a_killed_training_goes_on_as_if_it_had_not_been(lists: Path, tmp_path: Path) -> None:
    whole = settings_of(lists, save_every=2)
    expected = load_file(train(whole, tmp_path / "whole", print) / "model.safetensors")
    (tmp_path / "killed").mkdir()
    with pytest.raises(KeyboardInterrupt):
        train(whole, tmp_path / "killed", _stop_after("step 3"))
    weights = load_file(train(whole, tmp_path / "killed", print) / "model.safetensors")
    assert all(torch.equal(weight, expected[name]) for name, weight in weights.items())
    assert losses_of(tmp_path / "killed") == losses_of(tmp_path / "whole")


def _stop_after(words: str) -> Callable[[str], None]:
    def say(line: str) -> None:
        if words in line:
            raise KeyboardInterrupt

    return say


def test_another_training_in_the_folder_is_refused(lists: Path, tmp_path: Path) -> None:
    train(settings_of(lists, optimizer={"max_steps": 1}), tmp_path, print)
    with pytest.raises(InputError, match="holds a training with other settings"):
        train(settings_of(lists, optimizer={"max_steps": 1}, seed=1), tmp_path, print)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"query": " ", "passages": ["a", "b"], "ranking": [0, 1]}, "'query' is ' '"),
        ({"query": "q", "passages": ["a", "b"], "ranking": [0, 2]}, "each of the 2 passages once"),
        ({"query": "q", "document": ["a", 1], "ranking": [1, 2]}, "'document' must be a list of texts"),
        ({"query": "q", "document": ["a", "b"], "ranking": [True, 2]}, "whole numbers"),
        ({"query": "q", "document": ["a"], "ranking": [1]}, "the list has 1 passages"),
    ],
)
def test_broken_lists_are_refused_by_line(line: dict[str, Any], words: str, tmp_path: Path) -> None:
    good = {"query": "q", "document": ["a", "b"], "ranking": [2, 1], "source": "msmarco"}
    path = tmp_path / "lists.jsonl"
    path.write_text(f"{json.dumps(good)}\n{json.dumps(line)}\n")
    with pytest.raises(InputError, match=f"lists.jsonl:2: .*{words}"):
        read_lists(path, None)


def test_lists_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    path = tmp_path / "lists.jsonl"
    rows = [{"query": "q", "passages": ["a"] * n, "ranking": list(range(n))} for n in (3, 5)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match="the list has 5 passages, and 3 are needed"):
        read_lists(path, None)
    assert [len(record.passages) for record in read_lists(path, 3)] == [3, 5]
