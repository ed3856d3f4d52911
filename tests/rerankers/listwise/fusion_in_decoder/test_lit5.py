"""LiT5-Distill against the published script's outputs, and what this project adds to it.

`golden/lit5` holds a small checkpoint and what the published script makes of it.
"""

from __future__ import annotations

import hashlib
import shutil
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rerankers import RerankRequest, StageClock, create
from rerankers.errors import InputError, ModelError
from rerankers.listwise.permutation import parse
from rerankers.registry import validated
from tests.rerankers.listwise.golden_cases import TEXTS, TOLERANCE, read_golden, request_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FOLDER, GOLDEN = read_golden("lit5")
CASES = {f"{case['kind']}-{number}": case for number, case in enumerate(GOLDEN["cases"])}


@cache
def lit5(**options: Any) -> Any:
    return create("lit5", model=str(FOLDER), device="cpu", **options)


def published(case: dict[str, Any], **options: Any) -> Any:
    """Return the reranker with the settings of a published run; its answers count the start token."""
    return lit5(
        window=case["window"],
        step=case["stride"],
        window_policy="sliding-reference",
        passes=case["passes"],
        max_prompt_tokens=case["text_maxlength"],
        max_new_tokens=case["answer_maxlength"] - 1,
        control_tokens="control",
        **options,
    )


def windows_of(case: dict[str, Any]) -> list[list[int]]:
    """Follow the published answers from window to window, and return the passages that each shows."""
    order = list(range(len(case["passages"])))
    starts = list(range(len(order) - case["window"], -1, -case["stride"])) * case["passes"]
    windows = []
    for start, call in zip(starts, case["calls"], strict=True):
        windows.append(order[start : start + case["window"]])
        ranked = parse(call["answer"], case["window"]).order
        order[start : start + case["window"]] = [windows[-1][i] for i in ranked]
    assert order == case["order"]
    return windows


def digest(prompts: list[tuple[int, ...]]) -> str:
    return hashlib.sha256(";".join(",".join(map(str, ids)) for ids in prompts).encode()).hexdigest()


@pytest.mark.parametrize("kind", CASES)
def test_the_order_is_the_published_script_s(kind: str, clock: StageClock) -> None:
    case = CASES[kind]
    [ranking] = published(case).rerank([request_of(case["query"], case["passages"])], clock)
    assert [int(doc_id) for doc_id in ranking.doc_ids] == case["order"]
    assert ranking.usage.windows == ranking.usage.llm_calls == len(case["calls"])


@pytest.mark.parametrize("kind", CASES)
def test_prompts_answers_and_logits_are_the_published_script_s(kind: str) -> None:
    case = CASES[kind]
    reranker = published(case)
    for passages, call in list(zip(windows_of(case), case["calls"], strict=True))[-2:]:
        texts = [
            reranker.prompt(case["query"], number, case["passages"][i])
            for number, i in enumerate(passages, 1)
        ]
        prompts, _ = reranker.network.prompts(texts, case["text_maxlength"])
        assert digest(prompts) == call["prompts_sha256"]
        assert list(map(len, prompts)) == call["prompt_lengths"]
        states: dict[Any, torch.Tensor] = {}
        reranker.network.encode(prompts, states)
        rows: list[torch.Tensor] = []
        window = [states[prompt] for prompt in prompts]
        longest = [case["answer_maxlength"] - 1]
        [answer], steps = reranker.network.decode([window], longest, lambda *_: False, rows.append)
        logits = torch.cat(rows)
        assert answer == [token for token in call["answer_ids"] if token != 1]
        assert reranker.network.text(answer).strip() == call["answer"].strip()
        assert steps == len(call["answer_ids"])
        largest = logits.max(dim=1).values
        assert (largest - torch.tensor(call["answer_logits"])).abs().max() < TOLERANCE


def test_the_logits_of_the_first_token_are_the_published_script_s() -> None:
    case = next(case for kind, case in CASES.items() if kind.startswith("cut-answer"))
    [call] = case["calls"]
    reranker = published(case)
    numbered = enumerate(case["passages"], 1)
    texts = [reranker.prompt(case["query"], number, passage) for number, passage in numbered]
    prompts, _ = reranker.network.prompts(texts, case["text_maxlength"])
    states: dict[Any, torch.Tensor] = {}
    reranker.network.encode(prompts, states)
    rows: list[torch.Tensor] = []
    reranker.network.decode([[states[prompt] for prompt in prompts]], [1], lambda *_: False, rows.append)
    assert (rows[0][0] - torch.tensor(call["first_logits"])).abs().max() < TOLERANCE


def test_an_answer_ends_once_the_ranks_that_count_are_written(clock: StageClock) -> None:
    case = next(case for case in GOLDEN["cases"] if case["kind"] == "sliding-45")
    whole = sum(len(call["answer_ids"]) for call in case["calls"])
    [all_ranks] = published(case).rerank([request_of(case["query"], case["passages"])], clock)
    [first_ranks] = published(case, top=3).rerank([request_of(case["query"], case["passages"])], clock)
    assert first_ranks.doc_ids[:3] == all_ranks.doc_ids[:3]
    assert first_ranks.usage.generated_tokens < all_ranks.usage.generated_tokens < whole


def test_windows_of_several_queries_rank_as_alone(
    make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    reranker = lit5(window=3, step=2, batch_size=3)
    requests = [
        make_request(f"which animal {'really ' * n}hunts", TEXTS[n:] + TEXTS, query_id=f"q{n}")
        for n in range(4)
    ]
    together = reranker.rerank(requests, clock)
    for request, ranking in zip(requests, together, strict=True):
        [alone] = reranker.rerank([request], clock)
        assert ranking.doc_ids == alone.doc_ids
        assert ranking.usage.generated_tokens == alone.usage.generated_tokens


def test_a_prompt_that_comes_again_is_not_read_again(
    make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    [ranking] = lit5(window=4, step=2, passes=2).rerank([make_request("a query", TEXTS)], clock)
    usage = ranking.usage
    assert usage.windows == 2
    assert 0 < usage.cached_tokens < usage.prompt_tokens


def test_cut_prompts_are_counted(make_request: Callable[..., RerankRequest], clock: StageClock) -> None:
    texts = ["short", "long " * 100, "tiny"]
    [ranking] = lit5(max_prompt_tokens=80).rerank([make_request("a query", texts)], clock)
    assert ranking.usage.passages_truncated == 1


def test_faults_of_answers_are_counted(make_request: Callable[..., RerankRequest], clock: StageClock) -> None:
    [ranking] = lit5(max_new_tokens=1).rerank([make_request("a query", TEXTS)], clock)
    assert ranking.usage.faults == {"malformed": 1, "cut_off": 1}
    assert ranking.doc_ids == ("d0", "d1", "d2", "d3")


def test_several_passes_need_windows_that_slide() -> None:
    with pytest.raises(InputError, match="passes 2: only sliding windows"):
        validated("lit5", {"model": "m", "passes": 2, "window_policy": "top-down"})


def test_surplus_and_missing_weights_are_refused(tmp_path: Path) -> None:
    weights = load_file(FOLDER / "model.safetensors")
    name = "decoder.block.0.layer.1.EncDecAttention.q.weight"
    for change, message in (({"extra.weight": weights[name].clone()}, "too many"), ({}, "lacks 1 weight")):
        folder = tmp_path / message.replace(" ", "-")
        shutil.copytree(FOLDER, folder)
        changed = {**weights, **change}
        if not change:
            del changed[name]
        save_file(changed, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(ModelError, match=message):
            create("lit5", model=str(folder), device="cpu")


def test_another_architecture_is_refused(golden: Path) -> None:
    with pytest.raises(ModelError, match="qwen3 model, not a T5"):
        create("lit5", model=str(golden / "e2rank"), device="cpu")
