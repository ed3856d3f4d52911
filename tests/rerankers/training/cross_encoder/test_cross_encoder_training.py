"""A cross-encoder is trained on scored lists, and the reranker loads what was kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import ir_measures
import pytest
import torch
from ir_measures import nDCG

from benchmarks.cli.main import main
from rerankers import RerankRequest, StageClock, create
from rerankers.errors import InputError
from rerankers.training.cross_encoder.lists import PairCollator, ScoredExamples, ScoredList, read_scored
from rerankers.training.cross_encoder.model import TrainableCrossEncoder, list_net
from rerankers.training.cross_encoder.settings import CrossEncoderSettings
from rerankers.training.data.examples import ListChoice
from tests.rerankers.training.conftest import killed_in_the_second_step
from tests.rerankers.training.hub import on_the_hub

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of PEFT

ROW = {
    "query_id": "stone/0",
    "query": "stone",
    "passages": ["wood burns", "stone lasts", "paper tears"],
    "ranking": [2, 1, 0],
    "scores": [0.3, 0.2, 0.1],
    "doc_ids": ["wood", "stone", "paper"],
}
TEXTS = ["wood burns", "stone lasts", "paper tears"]


def write_lists(folder: Path, *rows: Mapping[str, object]) -> Path:
    path = folder / "lists.jsonl"
    lines = [{"about": {"digest": "x"}}, *rows]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def settings_with(**changes: object) -> CrossEncoderSettings:
    return CrossEncoderSettings.model_validate({"model": "m", "data": {"train": "t"}, **changes})


def test_labels_are_the_teachers_scores_and_the_source_of_a_query_gains(tmp_path: Path) -> None:
    settings = settings_with(temperature=0.1, source_bonus=4.0)
    (row,) = read_scored(write_lists(tmp_path, ROW), settings)
    assert row.labels == pytest.approx([1.0, 2.0 + 4.0, 3.0])  # in the order of the passages
    (row,) = read_scored(write_lists(tmp_path, {**ROW, "source_doc_id": "wood"}), settings)
    assert row.labels == pytest.approx([1.0 + 4.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scores": []}, "no 'scores' of all passages"),
        ({"scores": [0.3, "x", 0.1]}, "'scores' must be a number"),
        ({"doc_ids": ["wood"]}, "'doc_ids' must hold the id of each passage"),
        ({"query": " "}, "'query' is ' '"),
    ],
)
def test_a_list_that_cannot_be_learnt_is_refused_with_its_line(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    path = write_lists(tmp_path, {**ROW, **change})
    with pytest.raises(InputError, match=rf"lists\.jsonl:2: {reason}"):
        read_scored(path, settings_with(source_bonus=1.0))


def test_each_visit_draws_passages_with_their_labels() -> None:
    import numpy as np

    whole = ScoredList("stone", ("a", "b", "c"), (1.0, 2.0, 3.0))
    examples = ScoredExamples([whole], ListChoice(2, shuffle=True))
    label_of = dict(zip(whole.passages, whole.labels, strict=True))
    drawn = [examples.visit(0, np.random.default_rng(seed)) for seed in range(6)]
    for draw in drawn:
        assert len(set(draw.passages)) == 2
        assert draw.labels == tuple(label_of[text] for text in draw.passages)
    assert len({draw.passages for draw in drawn}) > 1


def test_the_loss_is_that_of_sentence_transformers(tiny_encoder: str) -> None:
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder.losses import ListNetLoss

    torch.manual_seed(0)
    encoder: Any = CrossEncoder(tiny_encoder, num_labels=1, device="cpu", max_length=32)
    encoder.eval()  # without dropout
    lists = [
        ScoredList("stone", tuple(TEXTS), (1.0, 6.0, 3.0)),
        ScoredList("ice", ("salt", "sun"), (0.5, 0.1)),
    ]
    batch = PairCollator(encoder)(list(enumerate(lists)))
    loss = TrainableCrossEncoder(encoder, None)(**batch)["loss"]
    columns = [[example.query for example in lists], [list(example.passages) for example in lists]]
    theirs = ListNetLoss(encoder)(columns, [torch.tensor(example.labels) for example in lists])
    assert float(loss.detach()) == pytest.approx(float(theirs.detach()), rel=1e-5)


def test_equal_scores_lose_the_logarithm_of_the_lists_length() -> None:
    labels = torch.tensor([[0.0, 0.0, 0.0], [5.0, 0.0, -torch.inf]])
    expected = (torch.log(torch.tensor(3.0)) + torch.log(torch.tensor(2.0))) / 2
    assert float(list_net(torch.zeros(2, 3), labels)) == pytest.approx(float(expected))


@pytest.fixture
def config(tmp_path: Path, tiny_encoder: str) -> Path:
    """Return a settings file on lists that are held out too: 'stone' is best beside stone,
    'ice' beside ice.
    """
    other = {**ROW, "query_id": "ice/0", "query": "ice", "passages": ["sun", "ice", "sand"]}
    lists = write_lists(tmp_path, ROW, other)
    path = tmp_path / "train.yaml"
    path.write_text(
        f"model: {tiny_encoder}\ndata: {{train: {lists}, validation: {lists}, list_size: 3}}\n"
        "max_length: 32\nlora: {rank: 2, alpha: 4}\n"
        "optimizer: {batch_size: 2, max_steps: 3}\nevaluate_every: 1\n"
        "save_every: 1\nlog_every: 1\n",
        encoding="utf-8",
    )
    return path


def test_the_command_leaves_a_checkpoint_that_the_reranker_loads_by_every_path(
    config: Path,
    tmp_path: Path,
    make_request: Callable[..., RerankRequest],
    clock: StageClock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert main(["train", "cross-encoder", str(config), "--dry-run", "--out", str(out)]) == 0
    assert "step 0: nDCG@10" in capsys.readouterr().err
    assert not out.exists()
    assert main(["train", "cross-encoder", str(config), "--out", str(out)]) == 0
    assert f"next: rerankbench run {out / 'compare.yaml'}" in capsys.readouterr().out
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if "eval_ndcg@10" in line] == [0, 1, 2, 3]
    best = out / "best"
    card = (best / "README.md").read_text()
    assert f"rerankbench train cross-encoder {config} --out {out}" in card
    request = make_request("stone", TEXTS)
    rankings = []
    for model in (str(best), on_the_hub(best, tmp_path / "hub", monkeypatch)):
        reranker = create("cross-encoder", {"model": model, "device": "cpu"})
        assert reranker.describe()["architecture"] == "BertForSequenceClassification"
        assert reranker.describe()["max_length"] == 32
        rankings += reranker.rerank([request], clock)
    assert sorted(rankings[0].doc_ids) == ["d0", "d1", "d2"]
    assert rankings[0].doc_ids == rankings[1].doc_ids


def test_held_out_lists_are_measured_against_judgements_too(
    config: Path,
    tmp_path: Path,
    make_request: Callable[..., RerankRequest],
    clock: StageClock,
    capsys: pytest.CaptureFixture[str],
) -> None:
    judged = {"first_stage": [1, 0, 2], "grades": [0, 2, 1], "grades_elsewhere": [3]}
    write_lists(tmp_path, {**ROW, **judged}, {**ROW, "query": "ice", "grades": [1, None, 0]})
    out = tmp_path / "out"
    assert main(["train", "cross-encoder", str(config), "--out", str(out)]) == 0
    assert "against judgements" in capsys.readouterr().err
    reranker = create("cross-encoder", {"model": str(out / "last"), "device": "cpu"})
    run = {}
    for query in ("stone", "ice"):
        [ranking] = reranker.rerank([make_request(query, TEXTS)], clock)
        run[query] = dict(zip(ranking.doc_ids, ranking.scores, strict=True))
    qrels = {"stone": {"d0": 0, "d1": 2, "d2": 1, "elsewhere": 3}, "ice": {"d0": 1, "d2": 0}}
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    measured = [line["eval_judged_ndcg@10"] for line in log if "eval_judged_ndcg@10" in line]
    assert len(measured) == 4  # step 0, and after each step
    expected = ir_measures.calc_aggregate([nDCG @ 10], qrels, run)[nDCG @ 10]
    assert measured[-1] == pytest.approx(expected, abs=1e-6)


def test_a_killed_training_goes_on_as_if_nothing_had_happened(config: Path, tmp_path: Path) -> None:
    def run(name: str) -> int:
        return main(["train", "cross-encoder", str(config), "--out", str(tmp_path / name)])

    assert run("whole") == 0
    with killed_in_the_second_step():
        run("killed")
    assert run("killed") == 0
    whole, killed = (
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("whole", "killed")
    )
    for left, right in zip(whole, killed, strict=True):
        for key in {"step", "loss", "eval_ndcg@10"} & left.keys():
            assert right[key] == pytest.approx(left[key], abs=1e-5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tune: projector", "a cross-encoder has no projector"),
        ("lora: {merge_per_step: true, dropout: 0}", "lora.merge_per_step is for language models"),
        ("encoder: {model: x}", "unknown key 'encoder'"),
    ],
)
def test_settings_that_do_not_fit_are_told_with_their_file(
    config: Path, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    key = line.partition(":")[0]
    kept = [
        setting_line
        for setting_line in config.read_text().splitlines()
        if not setting_line.startswith(f"{key}:")
    ]
    config.write_text("\n".join([*kept, line]) + "\n")
    assert main(["train", "cross-encoder", str(config), "--dry-run"]) == 2
    assert message in capsys.readouterr().err


def test_all_of_an_encoder_may_learn(config: Path, tmp_path: Path) -> None:
    arguments = ["--set", "tune=full", "optimizer.max_steps=1", "--out", str(tmp_path / "out")]
    assert main(["train", "cross-encoder", str(config), *arguments]) == 0
    reranker = create("cross-encoder", {"model": str(tmp_path / "out" / "best"), "device": "cpu"})
    assert reranker.describe()["architecture"] == "BertForSequenceClassification"
