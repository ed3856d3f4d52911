"""A listwise text ranker: its loss by hand, and a tiny one that learns its lists and ranks them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from rerankers import RerankRequest, StageClock, create
from rerankers.errors import InputError, ModelError
from rerankers.llm.causal import CausalLM
from rerankers.training.data.examples import ListChoice
from rerankers.training.data.records import RankingRecord, read_ranking
from rerankers.training.run import plan, train
from rerankers.training.text.examples import TextExamples, collate
from rerankers.training.text.model import TrainableTextRanker
from rerankers.training.text.prompts import TextPrompts
from rerankers.training.text.settings import TextSettings
from tests.rerankers.training.conftest import killed_in_the_second_step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers.training.run import Outcome

WEIGHTS = "adapter_model.safetensors"
PASSAGES = ("yeast makes gas", "salt melts ice", "stone lasts")


@pytest.fixture
def make_text_settings(tiny_llm: str, lists: Path) -> Callable[..., TextSettings]:
    """Return settings on the tiny model; sections given are laid over these."""

    def make(**changes: Any) -> TextSettings:
        content: dict[str, Any] = {
            "llm": {"model": tiny_llm, "dtype": "float32", "attention": "eager"},
            "data": {"train": str(lists), "validation": str(lists)},
            "lora": {"rank": 8, "alpha": 16, "dropout": 0, "target_modules": "all-linear"},
            "optimizer": {"learning_rate": 3e-3, "batch_size": 4, "max_steps": 3},
            "passage_words": 4,
            "log_every": 1,
        }
        for key, value in changes.items():
            both = isinstance(value, dict) and isinstance(content.get(key), dict)
            content[key] = {**content[key], **value} if both else value
        return TextSettings.model_validate(content)

    return make


def trained(settings: TextSettings, folder: Path) -> Outcome:
    return train("text", settings, folder, lambda _: None, use_cpu=True)


def prompts_of(model: CausalLM, prompt: Any = "rank-zephyr", words: int = 300) -> TextPrompts:
    return TextPrompts(model.tokenizer, "tiny", prompt, words, {})


def test_the_loss_is_the_cross_entropy_of_the_answers_tokens_alone(tiny_llm: str) -> None:
    base = CausalLM(tiny_llm, dtype="float32", device="cpu")
    prompts = prompts_of(base)
    records = [
        RankingRecord("why does dough rise", PASSAGES, (2, 0, 1)),
        RankingRecord("ice", PASSAGES[:2], (1, 0)),
    ]
    examples = TextExamples(records, prompts, ListChoice(None, shuffle=False), 4096)
    batch = collate([(i, examples.visit(i, np.random.default_rng(0))) for i in range(2)])
    loss = float(TrainableTextRanker(base.model)(**batch)["loss"].detach())

    losses = []  # by hand: one forward pass a list, and -log p of each token of the answer
    for record, answer in zip(records, ("[3] > [1] > [2]", "[2] > [1]"), strict=True):
        prompt = prompts.encode(prompts.text(record.query, record.passages))
        ids = [*prompts.encode(prompts.text(record.query, record.passages) + answer), 2]  # 2 ends a turn
        with torch.no_grad():
            logits = base.model(input_ids=torch.tensor([ids])).logits[0].double()
        for place in range(len(prompt), len(ids)):
            row = logits[place - 1]
            losses.append(math.log(sum(math.exp(value) for value in row.tolist())) - float(row[ids[place]]))
    assert loss == pytest.approx(sum(losses) / len(losses), rel=1e-4)


def test_the_prompt_has_the_tokens_that_the_reranker_reads(
    tiny_llm: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    texts = ["yeast makes gas in dough and bread", "salt melts [2] ice </s>", "stone"]
    request = make_request("why does dough rise", texts)
    prompts = prompts_of(CausalLM(tiny_llm, device="cpu"), words=5)
    written = prompts.write(request.query, texts, [1, 0, 2])
    options = {"model": tiny_llm, "backend": "transformers", "prompt": "rank-zephyr", "passage_words": 5}
    reranker = create("rankgpt", {**options, "max_new_tokens": 1, "device": "cpu"})
    [ranking] = reranker.rerank([request], clock)
    assert ranking.usage.prompt_tokens == written.prompt_length
    assert prompts.is_cut(texts[0])
    assert not prompts.is_cut(texts[1])


@pytest.mark.parametrize("prompt", ["rank-zephyr", "first"])
def test_a_tiny_model_learns_its_lists_and_ranks_them_through_the_reranker(
    make_text_settings: Callable[..., TextSettings], lists: Path, tmp_path: Path, prompt: str
) -> None:
    lists.write_text("".join(lists.read_text().splitlines(keepends=True)[:3]))
    settings = make_text_settings(
        prompt=prompt,
        data={"validation_limit": 2},
        optimizer={"learning_rate": 1e-2, "batch_size": 3, "max_steps": 40},
    )
    outcome = trained(settings, tmp_path / "run")
    compare = yaml.safe_load((tmp_path / "run" / "compare.yaml").read_text())["rerankers"][-1]
    assert compare["name"] == ("first" if prompt == "first" else "rankgpt")
    options = {**compare["options"], "model": str(outcome.checkpoint), "dtype": "float32", "device": "cpu"}
    assert (options["window"], options["step"], options["passage_words"]) == (6, 3, 4)
    reranker = create(compare["name"], options)
    assert reranker.describe()["base_model"] == settings.llm.model
    records = read_ranking(lists)
    requests = [
        RerankRequest.of(record.query, {str(i): text for i, text in enumerate(record.passages)})
        for record in records
    ]
    for record, ranking in zip(records, reranker.rerank(requests, StageClock()), strict=True):
        if prompt == "first":  # the first identifier alone was learnt as a distribution
            assert int(ranking.doc_ids[0]) == record.ranking[0]
        else:
            assert tuple(map(int, ranking.doc_ids)) == record.ranking
            assert not ranking.usage.faults
    assert outcome.best_score == (pytest.approx(1.0) if prompt != "first" else pytest.approx(1.0, abs=0.1))


def test_a_model_trained_as_a_whole_is_a_plain_model(
    make_text_settings: Callable[..., TextSettings], tmp_path: Path
) -> None:
    settings = make_text_settings(tune="full", data={"validation": None})
    checkpoint = trained(settings, tmp_path / "run").checkpoint
    names = {path.name for path in checkpoint.iterdir()}
    assert {"README.md", "config.json", "model.safetensors", "training.json"} <= names
    assert "adapter_config.json" not in names
    assert "base_model" not in CausalLM(str(checkpoint), device="cpu").describe()


def test_a_killed_training_goes_on_as_if_nothing_had_happened(
    make_text_settings: Callable[..., TextSettings], tmp_path: Path
) -> None:
    settings = make_text_settings(data={"validation": None, "shuffle": True, "list_size": 4}, save_every=1)
    trained(settings, tmp_path / "whole")

    with killed_in_the_second_step():
        trained(settings, tmp_path / "killed")
    assert trained(settings, tmp_path / "killed").step == 3
    whole, killed = (load_file(tmp_path / run / "last" / WEIGHTS) for run in ("whole", "killed"))
    assert all(torch.allclose(whole[name], killed[name], atol=1e-6) for name in whole)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"max_length": 100}, r"data.train, line 1: needs \d+ tokens"),
        ({"data": {"train": "nowhere.jsonl"}}, "nowhere.jsonl"),
    ],
)
def test_lists_that_cannot_be_shown_are_refused_before_the_folder_is_claimed(
    make_text_settings: Callable[..., TextSettings], tmp_path: Path, given: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        trained(make_text_settings(**given), tmp_path / "run")
    assert not (tmp_path / "run" / "settings.json").exists()


def test_a_dry_run_says_what_would_be_trained_and_leaves_no_folder(
    make_text_settings: Callable[..., TextSettings], tmp_path: Path
) -> None:
    messages: list[str] = []
    settings = make_text_settings(data={"validation_limit": 2})
    plan("text", settings, tmp_path / "run", messages.append, use_cpu=True)
    text = "\n".join(messages)
    assert "48 of 48 passages are cut after 4 words" in text
    assert "step 0: nDCG@10" in text
    assert not (tmp_path / "run").exists()


def test_held_out_lists_are_measured_against_judgements_too(
    make_text_settings: Callable[..., TextSettings], lists: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in lists.read_text().splitlines()[:2]]
    for row in rows:
        row["grades"] = [int(place == row["ranking"][0]) for place in range(len(row["passages"]))]
        row["grades_elsewhere"] = [1]
    lists.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    trained(make_text_settings(optimizer={"batch_size": 2, "max_steps": 1}), tmp_path / "run")
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    measured = [line["eval_judged_ndcg@10"] for line in log if "eval_judged_ndcg@10" in line]
    assert len(measured) == 2  # before the first step, and after it
    reachable = 1 / (1 + 1 / math.log2(3))  # the best passage first, the one outside the list second
    assert all(0 < value <= reachable + 1e-9 for value in measured)
    references = json.loads((tmp_path / "run" / "plan.json").read_text())["references"]
    assert references["teacher"]["judged_ndcg@10"] == pytest.approx(reachable)


def test_an_adapter_of_another_kind_is_no_language_model(
    make_text_settings: Callable[..., TextSettings], tmp_path: Path
) -> None:
    checkpoint = trained(make_text_settings(data={"validation": None}), tmp_path / "run").checkpoint
    with pytest.raises(InputError, match="is an adapter, and an adapter on an adapter"):
        trained(make_text_settings(llm={"model": str(checkpoint)}), tmp_path / "again")
    (checkpoint / "pe_rank.json").write_text("{}")
    with pytest.raises(ModelError, match="is a checkpoint of PE-Rank"):
        CausalLM(str(checkpoint))
    (checkpoint / "pe_rank.json").unlink()
    config = json.loads((checkpoint / "adapter_config.json").read_text())
    (checkpoint / "adapter_config.json").write_text(json.dumps({**config, "task_type": "SEQ_CLS"}))
    with pytest.raises(ModelError, match="is an adapter for SEQ_CLS"):
        CausalLM(str(checkpoint))
