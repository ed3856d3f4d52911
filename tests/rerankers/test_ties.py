"""Half precision makes few ties, and those that remain are counted."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch

from rerankers import create
from rerankers.interface import Cost, Ranking, count_ties
from rerankers.llm.readout import log_probability
from rerankers.pointwise.base import Pair

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers import RerankRequest, StageClock

TEXTS = [f"Bees of hive {i} fly over {'a reef ' * (i % 7)}before frost {i * 37 % 101}." for i in range(100)]


@pytest.fixture(scope="module")
def loud(tiny_llm: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the tiny LLM with an answer that it is sure of: logits near 20, and yes far above no."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("loud") / "model"
    shutil.copytree(tiny_llm, folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_llm)
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_llm)
    yes, no = (tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("Yes", "No"))
    text = "Query: bees\nPassage: Bees\nDoes the passage answer the query? Reply with Yes or No."
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": text}], return_tensors="pt")
    with torch.no_grad():
        hidden = model.model(**prompt).last_hidden_state[0, -1]
        model.lm_head.weight[yes] = 20 * hidden / hidden.square().sum()
        model.lm_head.weight[no] = -hidden / hidden.square().sum()
    model.save_pretrained(folder)
    return str(folder)


def test_surely_answered_passages_do_not_tie_in_half_precision(
    loud: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    loaded: Any = create("causal-yes-no", {"model": loud, "prompt": "chat", "dtype": "bfloat16"})
    tokenized = loaded.tokenize([Pair("bees", text) for text in TEXTS])
    scores = loaded.score(tokenized)
    assert len(set(scores)) >= 97  # of 100; in bfloat16 logits near 20 lie 0.125 apart
    (ranking,) = loaded.rerank([make_request("bees", TEXTS)], clock)
    assert ranking.usage.ties == count_ties(sorted(scores, reverse=True))


def test_the_log_probability_of_a_sure_answer_is_no_zero() -> None:
    sure = log_probability(torch.tensor([20.0, 20.25, 60.0]), torch.tensor([0.0, 0.0, 0.0]))
    assert sure.tolist() == pytest.approx([-math.exp(-20.0), -math.exp(-20.25), -math.exp(-60.0)], rel=1e-5)
    assert float(log_probability(torch.tensor(-60.0), torch.tensor(0.0))) == pytest.approx(-60.0)


@pytest.mark.parametrize(
    ("scores", "ties"),
    [
        ([], 0),
        ([1.0], 0),
        ([3.0, 2.0, 2.0, 2.0, 1.0], 2),  # ranks 2 and 3 equal the next
        (
            [float(20 - i) for i in range(10)] + [11.0, 11.0],
            1,
        ),  # rank 10 equals rank 11
        ([1.0 + 1e-12, 1.0], 1),  # evaluation tools read 32 bits
    ],
)
def test_ties_of_the_first_ten_ranks_are_counted(scores: list[float], ties: int) -> None:
    assert count_ties(scores) == ties


def test_a_ranking_by_score_records_its_ties_and_an_order_has_none(
    make_request: Callable[..., RerankRequest],
) -> None:
    request = make_request("bees", ["a", "b", "c"])
    assert Ranking.by_score(request, [0.5, 1.0, 0.5], Cost()).usage.nonzero() == {"ties": 1}
    assert Ranking.of(request, [2, 0, 1], Cost()).usage.nonzero() == {}


def test_a_fusion_counts_its_own_ties_and_a_cascade_those_of_its_last_step(
    make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    request = make_request("bees", ["a", "b"])
    parts = [{"name": "first-stage"}, {"name": "reverse"}]
    (fused,) = create("fusion", {"parts": parts}).rerank([request], clock)
    assert fused.usage.ties == 1  # 1/61 + 1/62 both
    steps = [{"name": "fusion", "options": {"parts": parts}}, {"name": "reverse"}]
    (cascaded,) = create("cascade", {"steps": steps}).rerank([request], clock)
    assert cascaded.usage.ties == 0
    assert cascaded.usage.parts[0]["usage"]["ties"] == 1


def test_first_counts_the_ties_of_its_last_window(
    tiny_llm: str, tmp_path: Path, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "even"
    shutil.copytree(tiny_llm, folder)
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_llm)
    with torch.no_grad():
        model.lm_head.weight.zero_()
    model.save_pretrained(folder)
    (ranking,) = create("first", {"model": str(folder)}).rerank([make_request("bees", TEXTS[:30])], clock)
    assert ranking.usage.ties == 10
