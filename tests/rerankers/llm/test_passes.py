"""Static passes of a causal LM give the answers of transformers' own, in every method that runs them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig

from rerankers import create
from rerankers.errors import ModelError
from rerankers.llm.passes import EagerPasses, StaticPasses, choose_passes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers import RerankRequest, StageClock

SMALL: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.3,
}  # fmt: skip
CHAT = {"backend": "transformers", "concurrency": 3}
METHODS: dict[str, dict[str, Any]] = {
    "rankgpt": {**CHAT, "window": 4, "step": 2},
    "setwise": {**CHAT, "top": 2},
    "rank1": {"reasoning_tokens": 6, "batch_size": 3},
    "first": {"window": 4, "step": 2},
    "first in rounds": {"window": 3, "step": 1, "window_policy": "top-down"},
    "causal-yes-no": {"prompt": "qwen3"},
    "query-likelihood": {"batch_tokens": 200},
}
TEXTS = ["bees and hives", "a glacier " * 20, "", "maps and music", "the northern reef " * 5, "a violin"]


def made(config: Any) -> Any:
    torch.manual_seed(0)
    make: Any = AutoModelForCausalLM
    return make.from_config(config, dtype=torch.float32).eval().requires_grad_(False)


@pytest.mark.parametrize("method", METHODS)
def test_static_passes_rank_as_those_of_transformers(
    method: str,
    tiny_llm: str,
    golden: Path,
    make_request: Callable[..., RerankRequest],
    clock: StageClock,
) -> None:
    name = method.split()[0]
    model = str(golden / "reasoning") if name == "rank1" else tiny_llm
    requests = [make_request(query, TEXTS, query) for query in ("bees", "who warns sailors of the reef")]
    rankings = {}
    for passes in ("eager", "static"):
        options = {"model": model, "device": "cpu", "dtype": "float32", "forward_passes": passes}
        reranker = create(name, {**options, **METHODS[method]})
        rankings[passes] = reranker.rerank(requests, clock)
        assert passes in str(reranker.describe())
    for eager, static in zip(*rankings.values(), strict=True):
        assert static.doc_ids == eager.doc_ids
        assert static.scores == pytest.approx(eager.scores, abs=1e-4)
        assert static.usage == eager.usage


@torch.inference_mode()
def test_rows_of_one_cache_are_shared_padded_dropped_and_cropped_alike() -> None:
    model = made(LlamaConfig(**SMALL))
    prefix, rests = torch.tensor([[5, 6, 7]]), torch.tensor([[0, 0, 8, 9], [0, 10, 11, 12], [13, 14, 15, 16]])
    steps = torch.tensor([[17], [18], [19]])
    mask = torch.tensor([[1, 1, 1, 0, 0, 1, 1], [1, 1, 1, 0, 1, 1, 1], [1] * 7])
    padded_first = mask[:, 3:]

    def read(passes: Any) -> list[torch.Tensor]:
        logits, shared = passes.run(prefix, None)
        results = [logits, passes.read_behind(rests, shared)]
        logits, cache = passes.run(rests, passes.spread(shared, 3), mask)
        results.append(logits)
        kept = torch.tensor([0, 2])
        longer = torch.cat([mask[kept], torch.ones(2, 1, dtype=torch.long)], dim=1)
        results.append(passes.run(steps[kept], passes.select(cache, kept), longer)[0])
        results.append(passes.run(rests, None, padded_first)[0])  # padding with nothing before it
        results.append(passes.run(rests[2:], passes.crop(shared, 2))[0])
        return results

    for static, eager in zip(read(StaticPasses(model)), read(EagerPasses(model)), strict=True):
        assert static.shape == eager.shape
        torch.testing.assert_close(static, eager, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("config", "change", "reason"),
    [
        (MistralConfig(**SMALL, sliding_window=8), {}, "slides over 8 tokens"),
        (LlamaConfig(**SMALL), {"_attn_implementation": "eager"}, "attention is eager"),
        (LlamaConfig(**SMALL, hidden_act="gelu"), {}, "gelu"),
    ],
    ids=["sliding-attention", "eager-attention", "activation"],
)
def test_models_without_static_passes_run_those_of_transformers_and_say_why(
    config: Any, change: dict[str, str], reason: str
) -> None:
    model = made(config)
    for name, value in change.items():
        setattr(model.get_decoder().config, name, value)
    passes, entry = choose_passes(model, "auto", "tiny", decodes=True)
    assert not passes.are_static
    assert reason in entry
    with pytest.raises(ModelError, match=f"{reason}.*forward_passes: auto"):
        choose_passes(model, "static", "tiny", decodes=True)


def test_prompts_that_are_only_read_run_the_passes_of_transformers_on_a_cpu() -> None:
    """There they are as fast: a pass of hundreds of tokens is bound by arithmetic."""
    model = made(LlamaConfig(**SMALL))
    assert not choose_passes(model, "auto", "tiny", decodes=False)[0].are_static
    assert choose_passes(model, "auto", "tiny", decodes=True)[0].are_static


def test_a_model_that_changes_its_logits_runs_the_passes_of_transformers() -> None:
    model = made(LlamaConfig(**SMALL))
    model.register_forward_hook(lambda *call: SimpleNamespace(**{**call[-1], "logits": call[-1].logits ** 3}))
    passes, entry = choose_passes(model, "auto", "tiny", decodes=True)
    assert not passes.are_static
    assert "differ" in entry
