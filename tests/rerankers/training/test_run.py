"""Whole trainings of a tiny model: they learn, they go on after a kill, and what they leave loads."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file

from rerankers import RerankRequest, StageClock
from rerankers.errors import InputError, ModelError
from rerankers.methods.pe_rank import PERankOptions
from rerankers.pe_rank.reranker import PERank
from rerankers.training import trainer as trainers
from rerankers.training.export import export_published, truncate_adapter
from rerankers.training.run import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers.training.run import Outcome
    from rerankers.training.settings import Settings, Stage

    Make = Callable[..., Settings]


def trained(stage: Stage, settings: Settings, folder: Path) -> Outcome:
    return train(stage, settings, folder, lambda _: None, use_cpu=True)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def order(model: Path, request: RerankRequest) -> tuple[str, ...]:
    seconds = iter(range(10**9))
    clock = StageClock(now=lambda: float(next(seconds)))
    return (
        PERank(PERankOptions(model=str(model), dtype="float32", device="cpu"))
        .rerank([request], clock)[0]
        .doc_ids
    )


@pytest.mark.parametrize("merge", [False, True], ids=["peft", "merged"])
def test_a_tiny_model_learns_eight_lists_by_heart(make_settings: Make, tmp_path: Path, merge: bool) -> None:
    lora = {"rank": 8, "alpha": 16, "dropout": 0, "target_modules": "all-linear", "merge_per_step": merge}
    settings = make_settings(
        "rank",
        lora=lora,
        optimizer={"learning_rate": 1e-2, "batch_size": 8, "max_steps": 120},
        evaluate_every=40,
    )
    outcome = trained("rank", settings, tmp_path / "run")
    assert outcome.best_score == 1.0


def test_without_validation_lists_nothing_is_evaluated(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings("rank", data={"validation": None}, evaluate_every=1)
    assert trained("rank", settings, tmp_path / "run").best_score is None
    assert not any("eval_ndcg@10" in line for line in lines(tmp_path / "run"))


def test_merging_once_a_step_changes_no_loss(make_settings: Make, tmp_path: Path) -> None:
    losses_by_way = []
    for merge in (False, True):
        lora = {"rank": 4, "alpha": 8, "dropout": 0, "target_modules": "all-linear", "merge_per_step": merge}
        trained("rank", make_settings("rank", lora=lora), tmp_path / str(merge))
        losses_by_way.append([line["loss"] for line in lines(tmp_path / str(merge)) if "loss" in line])
    assert losses_by_way[0] == pytest.approx(losses_by_way[1], rel=1e-4)


@pytest.mark.parametrize("stage", ["query", "rank"])
def test_a_killed_training_goes_on_as_if_nothing_had_happened(
    make_settings: Make, tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(
        stage,
        data={"shuffle": True, "list_size": 5},
        lora={"rank": 4, "alpha": 8, "dropout": 0.1, "target_modules": ["q_proj", "v_proj"]},
        loss={"with_text": stage == "rank", "first_step": {"weight": 1.0, "pool": 3}},
        optimizer={"learning_rate": 1e-3, "batch_size": 2, "accumulation": 2, "max_steps": 7},
        save_every=2,
        evaluate_every=3,
    )
    trained(stage, settings, tmp_path / "whole")

    class Killed(BaseException):
        pass

    step = trainers.PERankTrainer.training_step
    calls = iter(range(100))

    def killing(self: Any, *arguments: Any, **options: Any) -> Any:
        if next(calls) == 11:  # in the middle of step 6, after the state of step 4
            raise Killed
        return step(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(trainers.PERankTrainer, "training_step", killing)
        with pytest.raises(Killed):
            trained(stage, settings, tmp_path / "killed")
    (tmp_path / "killed" / "states" / "checkpoint-6").mkdir()  # a kill while a state is written
    outcome = trained(stage, settings, tmp_path / "killed")
    assert outcome.step == 7
    whole = {line["step"]: line["loss"] for line in lines(tmp_path / "whole") if "loss" in line}
    killed = {line["step"]: line["loss"] for line in lines(tmp_path / "killed") if "loss" in line}
    assert killed == pytest.approx(whole, abs=1e-6)
    for name in ("adapter_model.safetensors", "projector.safetensors"):
        left, right = (load_file(tmp_path / run / "last" / name) for run in ("whole", "killed"))
        assert all(torch.allclose(left[key], right[key], atol=1e-6) for key in left)


def test_another_training_in_the_same_folder_is_refused(make_settings: Make, tmp_path: Path) -> None:
    trained("query", make_settings("query"), tmp_path / "run")
    with pytest.raises(InputError, match="another --out"):
        trained("query", make_settings("query", seed=1), tmp_path / "run")


@pytest.mark.parametrize(
    ("broken", "line", "reason"),
    [
        ({"query": "", "passages": ["a", "b"], "ranking": [1, 0]}, 9, "'query' is ''"),
        ({"query": "frost", "passages": ["a", "b"], "ranking": [1, 1]}, 9, "'ranking' must name each"),
    ],
)
def test_a_start_that_fails_on_its_data_loads_no_model_and_leaves_the_folder_free(
    make_settings: Make, tmp_path: Path, lists: Path, broken: dict[str, Any], line: int, reason: str
) -> None:
    whole = lists.read_text()
    lists.write_text(f"{whole}{json.dumps(broken)}\n")
    settings = make_settings("rank")
    nothing = settings.llm.model_copy(update={"model": str(tmp_path / "nothing")})
    with pytest.raises(InputError, match=f"lists.jsonl:{line}: {reason}"):
        trained("rank", settings.model_copy(update={"llm": nothing}), tmp_path / "run")
    lists.write_text(whole)
    assert trained("rank", settings, tmp_path / "run").step == 4


def test_a_list_that_is_too_long_with_its_texts_ends_no_training_midway(
    make_settings: Make, tmp_path: Path, lists: Path
) -> None:
    record = {"query": "frost", "passages": ["fox", "sand " * 400], "ranking": [1, 0]}
    lists.write_text(f"{lists.read_text()}{json.dumps(record)}\n")
    settings = make_settings("rank", loss={"with_text": True}, data={"validation": None}, max_length=300)
    with pytest.raises(InputError, match=r"line 9: needs \d+ tokens"):
        trained("rank", settings, tmp_path / "run")
    assert not (tmp_path / "run" / "settings.json").exists()


def test_stages_follow_each_other_and_checkpoints_load(
    make_settings: Make, make_request: Callable[..., RerankRequest], tmp_path: Path
) -> None:
    trained("query", make_settings("query"), tmp_path / "query")
    start = tmp_path / "query" / "best"
    outcome = trained("rank", make_settings("rank", init_from=str(start)), tmp_path / "rank")
    assert outcome.checkpoint == tmp_path / "rank" / "best"
    manifest = json.loads((outcome.checkpoint / "pe_rank.json").read_text())
    assert manifest["training"]["stage"] == "rank"
    assert manifest["training"]["started_from"]["stage"] == "query"
    request = make_request("harbour frost", ["map note", "fox sand", "violin maple press", "letter"])
    ranking = order(outcome.checkpoint, request)
    assert sorted(ranking) == ["d0", "d1", "d2", "d3"]
    cut = tmp_path / "cut"
    truncate_adapter(outcome.checkpoint, cut, rank=4, dtype=torch.float32)
    assert order(cut, request) == ranking  # nothing was cut away
    truncate_adapter(outcome.checkpoint, cut, rank=1)
    weights = load_file(cut / "adapter_model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float16}
    assert all(min(weight.shape) == 1 for weight in weights.values())
    assert sorted(order(cut, request)) == ["d0", "d1", "d2", "d3"]
    with pytest.raises(InputError, match="rank 4"):
        truncate_adapter(outcome.checkpoint, cut, rank=5)
    lora = {"rank": 2, "alpha": 8, "dropout": 0, "target_modules": "all-linear"}
    with pytest.raises(ModelError, match="rank 4"):
        trained("rank", make_settings("rank", init_from=str(start), lora=lora), tmp_path / "other")
    with pytest.raises(InputError, match="has an adapter, which only tune: lora can go on with"):
        trained("rank", make_settings("rank", init_from=str(start), tune="full"), tmp_path / "whole")
    linear = make_settings("rank", init_from=str(start), projector={"kind": "linear"})
    with pytest.raises(ModelError, match="was trained with the projector 'mlp2x_gelu', not 'linear'"):
        trained("rank", linear, tmp_path / "linear")


def test_an_exported_checkpoint_reads_like_the_published_ones(
    make_settings: Make, make_request: Callable[..., RerankRequest], tmp_path: Path
) -> None:
    settings = make_settings("rank", prompt=None)  # the wording of the paper, which the layout implies
    outcome = trained("rank", settings, tmp_path / "run")
    export_published(outcome.checkpoint, tmp_path / "exported")
    request = make_request("harbour frost", ["map note", "fox sand", "violin maple press", "letter"])
    assert order(tmp_path / "exported", request) == order(outcome.checkpoint, request)


@pytest.mark.parametrize("write", [export_published, partial(truncate_adapter, rank=1)])
def test_what_is_no_checkpoint_with_an_adapter_is_not_rewritten(
    tmp_path: Path, write: Callable[[Path, Path], None]
) -> None:
    with pytest.raises(InputError, match="holds no checkpoint with an adapter; name the folder of one"):
        write(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_is_not_cut_in_place(tmp_path: Path) -> None:
    for name in ("pe_rank.json", "adapter_config.json"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="is the checkpoint itself; name another folder with --out"):
        truncate_adapter(tmp_path, tmp_path / "." / "", rank=1)


def test_a_model_trained_as_a_whole_loads_from_wherever_it_lies(
    make_settings: Make, make_request: Callable[..., RerankRequest], tmp_path: Path
) -> None:
    outcome = trained("rank", make_settings("rank", tune="full"), tmp_path / "run")
    request = make_request("harbour frost", ["map note", "fox sand", "violin maple press", "letter"])
    ranking = order(outcome.checkpoint, request)
    again = make_settings("rank", init_from=str(outcome.checkpoint))
    with pytest.raises(InputError, match=r"was trained as a whole; name .*/llm as llm"):
        trained("rank", again, tmp_path / "again")
    moved = outcome.checkpoint.rename(tmp_path / "moved")
    assert order(moved, request) == ranking


def test_merging_at_every_step_needs_weights_that_do_not_round(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings("rank", lora={"merge_per_step": True}, optimizer={"bf16": True})
    with pytest.raises(InputError, match="merge_per_step needs float32 weights and no bf16"):
        trained("rank", settings, tmp_path / "run")


def test_alignment_teaches_the_projector_alone(make_settings: Make, tmp_path: Path, tiny_llm: str) -> None:
    path = tmp_path / "pairs.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for text in ("the harbour", "a violin", "sand and maple", "the press"):
            message = {"role": "user", "content": "Say it: <PLACEHOLDER>"}
            turns = [message, {"role": "assistant", "content": text}]
            file.write(json.dumps({"messages": turns, "extra_texts": [text]}) + "\n")
    settings = make_settings(
        "align",
        tune="projector",
        data={"train": str(path), "validation": None},
        prompt=None,
        optimizer={"learning_rate": 3e-2, "batch_size": 4, "max_steps": 25, "warmup": 0.0},
    )
    outcome = trained("align", settings, tmp_path / "run")
    losses = [line["cross_entropy"] for line in lines(tmp_path / "run") if "cross_entropy" in line]
    assert losses[-1] < 0.8 * losses[0]
    assert outcome.checkpoint == tmp_path / "run" / "last"
    assert not (outcome.checkpoint / "adapter_config.json").exists()


def test_a_deadline_ends_a_training_with_a_checkpoint(make_settings: Make, tmp_path: Path) -> None:
    optimizer = {"learning_rate": 1e-3, "batch_size": 4, "max_steps": 1000, "max_seconds": 0.01}
    outcome = trained("query", make_settings("query", optimizer=optimizer), tmp_path / "run")
    assert outcome.step == 1
    assert (outcome.checkpoint / "pe_rank.json").is_file()
