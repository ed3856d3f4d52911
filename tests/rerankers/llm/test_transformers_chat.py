from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rerankers.errors import ModelError
from rerankers.interface import Cost
from rerankers.llm.chat import ChatAnswer, ChatCall, ChatSettings, Message, Talk
from rerankers.llm.transformers_chat import TransformersChat

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers import StageClock

MESSAGES: list[Message] = [{"role": "user", "content": "Rank the passages about bees, hives and frost."}]


@pytest.fixture(scope="module")
def chat(tiny_llm: str) -> TransformersChat:
    return TransformersChat(ChatSettings("transformers", tiny_llm, dtype="float32", device="cpu"))


def ask(
    chat: TransformersChat, clock: StageClock, limit: int, known: Callable[[str], bool] | None = None
) -> tuple[ChatAnswer, Cost]:
    cost = Cost()

    def talk() -> Talk[ChatAnswer]:
        return (yield ChatCall(MESSAGES, limit, cost, known) if known else ChatCall(MESSAGES, limit, cost))

    return chat.run([talk()], clock)[0], cost


def test_answers_are_those_of_greedy_generation(
    chat: TransformersChat, tiny_llm: str, clock: StageClock
) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_llm, dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_llm)
    prompt = tokenizer.apply_chat_template(
        MESSAGES, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    written = model.generate(**prompt, max_new_tokens=24, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    answer, cost = ask(chat, clock, limit=24)
    assert answer.text == tokenizer.decode(written, skip_special_tokens=True)
    assert cost.usage.prompt_tokens == prompt["input_ids"].shape[1]
    assert cost.usage.generated_tokens == len(written)
    assert cost.usage.decode_steps == len(written) - 1


def test_an_answer_that_reaches_the_limit_is_cut_off(chat: TransformersChat, clock: StageClock) -> None:
    answer, cost = ask(chat, clock, limit=3)
    assert answer.end == "cut_off"
    assert cost.usage.generated_tokens == 3


def test_generation_ends_once_the_answer_is_known(chat: TransformersChat, clock: StageClock) -> None:
    full, _ = ask(chat, clock, limit=24)
    known, cost = ask(chat, clock, limit=24, known=lambda text: len(text) >= 5)
    assert known.end == "known"
    assert full.text.startswith(known.text)
    assert cost.usage.generated_tokens < 24


def test_prefill_and_decode_are_measured_apart(chat: TransformersChat, clock: StageClock) -> None:
    _, cost = ask(chat, clock, limit=3)
    assert cost.stage_seconds == {"prompt": 1, "prefill": 1, "decode": 1}  # one tick of the fake clock each


def test_a_model_without_a_chat_template_is_refused(tiny_llm: str, tmp_path: Path) -> None:
    AutoModelForCausalLM.from_pretrained(tiny_llm).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llm)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no chat template"):
        TransformersChat(ChatSettings("transformers", str(tmp_path), device="cpu"))
