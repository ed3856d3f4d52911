from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rerankers.errors import InputError, ModelError, OptionError
from rerankers.listwise.first import First
from rerankers.listwise.prompts import load_prompt
from rerankers.methods.listwise.first import FirstOptions
from rerankers.registry import validated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers import RerankRequest, StageClock
    from rerankers.listwise.windows import InitialOrder

WINDOWS: dict[str, Any] = {"window": 4, "step": 2}
ORDERS: tuple[InitialOrder, ...] = ("given", "reversed")


def test_passages_are_ordered_by_the_logits_of_their_letters(
    tiny_llm: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    texts = ["bees and hives", "a glacier", "maps and music", "a violin"]
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_llm)
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_llm, dtype=torch.float32)
    system, user = load_prompt("first").messages("bees", texts, "ABCD")
    messages = [{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}]  # no system role
    begun = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False) + "["
    prompt = tokenizer(begun, add_special_tokens=False, return_tensors="pt")
    with torch.no_grad():
        logits = model(**prompt).logits[0, -1]
    letters = [tokenizer(begun + letter, add_special_tokens=False)["input_ids"][-1] for letter in "ABCD"]
    expected = sorted(range(4), key=lambda i: -float(logits[letters[i]]))
    reranker = First(FirstOptions(model=tiny_llm, dtype="float32", device="cpu"))
    ranking = reranker.rerank([make_request("bees", texts)], clock)[0]
    assert ranking.doc_ids == tuple(f"d{i}" for i in expected)
    assert ranking.usage.prompt_tokens == prompt["input_ids"].shape[1]
    assert ranking.usage.generated_tokens == 0


def test_a_window_takes_one_forward_pass(
    tiny_llm: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    reranker = First(FirstOptions(model=tiny_llm, **WINDOWS, device="cpu"))
    usage = reranker.rerank([make_request("bees", [f"passage {i}" for i in range(10)])], clock)[0].usage
    assert usage.windows == usage.llm_calls == 4
    assert usage.decode_steps == 0


def test_the_initial_order_is_what_the_model_sees_first(
    tiny_llm: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    request = make_request("bees", [f"passage {i}" for i in range(6)])
    turned = replace(request, candidates=request.candidates[::-1])
    plain, reverse = (
        First(FirstOptions(model=tiny_llm, **{**WINDOWS, "initial_order": how}, device="cpu"))
        for how in ORDERS
    )
    assert reverse.rerank([request], clock)[0].doc_ids == plain.rerank([turned], clock)[0].doc_ids


def test_a_window_larger_than_the_context_shrinks_its_passages(
    tiny_llm: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    reranker = First(FirstOptions(model=tiny_llm, device="cpu"))
    usage = reranker.rerank([make_request("bees", ["word " * 300] * 20)], clock)[0].usage
    assert usage.passages_truncated == 20
    assert 2048 < usage.prompt_tokens <= 4096
    with pytest.raises(ModelError, match="2 passages exceed the context of 4096 tokens"):
        reranker.rerank([make_request("bees " * 5000, ["a", "b"])], clock)


def test_the_alphabet_and_the_step_limit_the_window(tiny_llm: str) -> None:
    with pytest.raises(OptionError, match="less than or equal to 26"):
        validated("first", {"model": tiny_llm, "window": 27})
    with pytest.raises(InputError, match="do not fit"):
        validated("first", {"model": tiny_llm, "window": 4, "step": 5})


def test_a_model_without_a_chat_template_is_refused(tiny_llm: str, tmp_path: Path) -> None:
    AutoModelForCausalLM.from_pretrained(tiny_llm).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llm)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no chat template"):
        First(FirstOptions(model=str(tmp_path), device="cpu"))
