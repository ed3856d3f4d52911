"""Numbers that a training logs and keeps mean what their names say."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from rerankers.encoders.encoder import Encoder
from rerankers.training import trainer as trainers
from rerankers.training.evaluation import Validation
from rerankers.training.export import truncate_adapter
from rerankers.training.monitoring import log
from rerankers.training.run import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    import torch

    from rerankers.training.run import Outcome
    from rerankers.training.settings import Settings

    Make = Callable[..., Settings]


def trained(settings: Settings, folder: Path) -> Outcome:
    return train("rank", settings, folder, lambda _: None, use_cpu=True)


def lines(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in rows if "loss" in line]


def test_an_epoch_is_one_pass_over_the_lists(make_settings: Make, tmp_path: Path) -> None:
    optimizer = {"learning_rate": 1e-3, "batch_size": 4, "max_steps": None, "epochs": 3.0}
    outcome = trained(make_settings("rank", optimizer=optimizer), tmp_path / "run")
    # 8 lists in steps of 4: step s ends epoch s * 4 / 8
    assert [line["epoch"] for line in lines(tmp_path / "run")] == [step * 4 / 8 for step in range(1, 7)]
    training = json.loads((tmp_path / "run" / "last" / "pe_rank.json").read_text())["training"]
    assert (outcome.step, training["losses"]["epoch"]) == (6, 3.0)


def test_the_last_steps_are_logged(make_settings: Make, tmp_path: Path) -> None:
    optimizer = {"learning_rate": 1e-3, "batch_size": 4, "max_steps": 7}
    trained(make_settings("rank", optimizer=optimizer, log_every=5), tmp_path / "run")
    assert [line["step"] for line in lines(tmp_path / "run")] == [1, 5, 7]


def test_lists_per_second_leave_evaluation_and_saving_out(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0)
    for module in (trainers, log):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def slow(method: Any, seconds: float) -> Any:
        def timed(*arguments: Any, **options: Any) -> Any:
            clock.now += seconds
            return method(*arguments, **options)

        return timed

    step, save = trainers.PERankTrainer.training_step, trainers.PERankTrainer._save
    monkeypatch.setattr(trainers.PERankTrainer, "training_step", slow(step, 2.0))
    monkeypatch.setattr(trainers.PERankTrainer, "_save", slow(save, 1000.0))
    monkeypatch.setattr(Validation, "orders", slow(Validation.orders, 100.0))
    trained(make_settings("rank", evaluate_every=1, save_every=2), tmp_path / "run")
    assert [line["lists_per_second"] for line in lines(tmp_path / "run")] == [4 / 2.0] * 4


def test_held_out_passages_are_cut_where_the_checkpoint_cuts_them(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lists: Path
) -> None:
    other = tmp_path / "held-out.jsonl"
    passages = ["frost " * 20, "sand", "fox", "maple"]
    other.write_text(json.dumps({"query": "frost", "passages": passages, "ranking": [2, 0, 1, 3]}))
    lengths: dict[str, set[int | None]] = {}
    encode = Encoder.encode

    def recording(self: Encoder, texts: list[str], **options: Any) -> torch.Tensor:
        for text in texts:
            lengths.setdefault(text, set()).add(self.max_length)
        return encode(self, texts, **options)

    monkeypatch.setattr(Encoder, "encode", recording)
    settings = make_settings("rank", data={"validation": str(other)})
    encoder = settings.encoder.model_copy(update={"max_length": 7, "inference_max_length": 19})
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path / "cache"))
    outcome = trained(settings.model_copy(update={"encoder": encoder}), tmp_path / "run")
    assert {text: lengths[text] for text in passages} == {text: {19} for text in passages}
    first = json.loads(lists.read_text().splitlines()[0])["passages"][0]
    assert lengths[first] == {7}
    manifest = json.loads((outcome.checkpoint / "pe_rank.json").read_text())
    assert manifest["encoder"]["max_length"] == 19


def test_a_cut_adapter_does_not_keep_the_score_of_the_whole_one(make_settings: Make, tmp_path: Path) -> None:
    outcome = trained(make_settings("rank"), tmp_path / "run")
    truncate_adapter(outcome.checkpoint, tmp_path / "small", rank=1)
    training = json.loads((tmp_path / "small" / "pe_rank.json").read_text())["training"]
    assert training["validation_ndcg@10"] is None
    assert training["adapter_rank"] == {
        "trained": 4,
        "kept": 1,
        "validation_ndcg@10_as_trained": outcome.best_score,
    }
