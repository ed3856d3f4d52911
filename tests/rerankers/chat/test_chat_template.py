"""Chat templates that think, refuse a system turn, or take variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rerankers import create
from rerankers.chat.conversation import ChatCall, ChatCompletion, Conversation, Message
from rerankers.chat.in_process import TransformersChat
from rerankers.chat.template import ChatTemplate
from rerankers.chat.thinking import after_thoughts
from rerankers.errors import InputError, ModelError
from rerankers.interface import Cost
from rerankers.methods.chat import ChatOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerankers import StageClock
    from tests.rerankers.chat.conftest import MakeRequest

TURNS = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
ANSWER = "{% if add_generation_prompt %}<assistant>{% endif %}"
THINKS = TURNS + ANSWER + "<think>"
SWITCHED = (
    f"{TURNS}{ANSWER}{{% if enable_thinking is defined and enable_thinking is false %}}"
    "<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}"
)
LEFT_ON = (
    f"{TURNS}{ANSWER}{{% if enable_thinking is defined and enable_thinking is false %}}"
    "<think>\n\n</think>\n\n{% endif %}"
)  # as Qwen3's: the model opens its thoughts itself unless told
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}" + ANSWER
)  # as Gemma 2's
LOSES_SYSTEM = "{% for m in messages if m['role'] != 'system' %}{{ m['content'] }}\n{% endfor %}" + ANSWER
METHODS: list[tuple[str, dict[str, Any]]] = [
    ("causal-yes-no", {"prompt": "chat"}),
    ("query-likelihood", {"prompt": "upr_chat"}),
    ("first", {}),
    ("rankgpt", {"backend": "transformers"}),
    ("pairwise", {"backend": "transformers"}),
    ("setwise", {"backend": "transformers"}),
]
QUESTION: list[Message] = [{"role": "user", "content": "Which bees fly in winter?"}]


@pytest.fixture(scope="module")
def thinks(with_template: Callable[[str], str]) -> str:
    return with_template(SWITCHED)


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_a_prompt_that_ends_inside_a_thinking_block_is_refused(
    thinks: str, method: str, options: dict[str, Any]
) -> None:
    with pytest.raises(ModelError, match=r"inside <think>.*template_variables: \{enable_thinking: false\}"):
        create(method, {"model": thinks, **options})


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_a_template_whose_thinking_is_turned_off_ranks(
    thinks: str, method: str, options: dict[str, Any], make_request: MakeRequest, clock: StageClock
) -> None:
    reranker = create(method, {"model": thinks, "template_variables": {"enable_thinking": False}, **options})
    (ranking,) = reranker.rerank([make_request("bees", ["hive", "frost"])], clock)
    assert sorted(ranking.doc_ids) == ["d0", "d1"]
    assert reranker.describe()["template_variables"] == {"enable_thinking": False}


def test_template_variables_change_where_the_answer_is_read(
    thinks: str, make_request: MakeRequest, clock: StageClock
) -> None:
    options = {"model": thinks, "prompt": "chat", "template_variables": {"enable_thinking": False}}
    (ranking,) = create("causal-yes-no", options).rerank([make_request("bees", ["hive"])], clock)
    question = "Query: bees\nPassage: hive\nDoes the passage answer the query? Reply with Yes or No."
    tokenizer: Any = AutoTokenizer.from_pretrained(thinks)
    model: Any = AutoModelForCausalLM.from_pretrained(thinks, dtype=torch.float32)
    ids = tokenizer(f"<user>{question}\n<assistant><think>\n\n</think>\n\n", add_special_tokens=False)
    with torch.no_grad():
        logits = model(torch.tensor([ids["input_ids"]])).logits[0, -1]
    yes, no = (tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("Yes", "No"))
    assert ranking.scores[0] == pytest.approx(float(logits[[yes, no]].log_softmax(0)[0]), abs=1e-4)


@pytest.mark.parametrize("method", ["causal-yes-no", "query-likelihood", "first"])
def test_a_template_that_leaves_thinking_on_is_refused_where_the_first_token_is_read(
    with_template: Callable[[str], str], method: str
) -> None:
    options = dict(METHODS)[method]
    with pytest.raises(ModelError, match=r"leaves thinking on.*\{enable_thinking: false\}"):
        create(method, {"model": with_template(LEFT_ON), **options})


@pytest.mark.parametrize("variables", [{"enable_thinkng": False}, {"tokenize": True}, {"messages": []}])
def test_a_variable_that_the_template_does_not_know_is_refused(
    thinks: str, variables: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=f"no variable '{next(iter(variables))}'"):
        create("first", {"model": thinks, "template_variables": variables})


def test_variables_without_a_chat_template_are_refused(tiny_llm: str) -> None:
    options = {"model": tiny_llm, "prompt": "qwen3", "template_variables": {"enable_thinking": False}}
    with pytest.raises(InputError, match="uses no chat template"):
        create("causal-yes-no", options)


@pytest.mark.parametrize("template", [NO_SYSTEM, LOSES_SYSTEM])
def test_the_system_turn_joins_the_users_where_a_template_takes_none(
    with_template: Callable[[str], str], template: str
) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(with_template(template))
    fitted = ChatTemplate(tokenizer, "m", {})
    text = fitted.text([{"role": "system", "content": "Be brief."}, *QUESTION])
    assert "Be brief.\n\nWhich bees fly in winter?\n" in text
    assert "joined" in str(fitted.describe()["system_turn"])


def test_turns_of_one_role_are_joined_only_where_a_template_refuses_them(
    with_template: Callable[[str], str],
) -> None:
    twice: list[Message] = [*QUESTION, {"role": "user", "content": "Say why."}]
    refusing = ChatTemplate(AutoTokenizer.from_pretrained(with_template(NO_SYSTEM)), "m", {})
    taking = ChatTemplate(AutoTokenizer.from_pretrained(with_template(TURNS + ANSWER)), "m", {})
    assert refusing.text(twice) == "<user>Which bees fly in winter?\n\nSay why.\n<assistant>"
    assert taking.text(twice) == "<user>Which bees fly in winter?\n<user>Say why.\n<assistant>"
    assert "joined" in str(refusing.describe()["repeated_turns"])
    assert taking.describe() == {}


@pytest.mark.parametrize("method", ["rankgpt", "first"])
def test_methods_with_a_system_turn_run_on_models_without_one(
    with_template: Callable[[str], str], make_request: MakeRequest, clock: StageClock, method: str
) -> None:
    reranker = create(method, {"model": with_template(NO_SYSTEM), **dict(METHODS)[method]})
    (ranking,) = reranker.rerank([make_request("bees", ["hive", "frost"])], clock)
    assert sorted(ranking.doc_ids) == ["d0", "d1"]
    assert "system_turn" in reranker.describe()


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_model_thinks_as_long_as_its_budget_and_answers_after_it(
    with_template: Callable[[str], str], clock: StageClock, at_once: int
) -> None:
    model = with_template(THINKS)
    chat = TransformersChat(
        ChatOptions(
            backend="transformers", model=model, dtype="float32", reasoning_tokens=7, concurrency=at_once
        )
    )
    costs = [Cost() for _ in range(3)]

    def conversation(cost: Cost) -> Conversation[ChatCompletion]:
        [answer] = yield [ChatCall(QUESTION, 5, cost)]
        return answer

    answers = chat.run([conversation(cost) for cost in costs], clock)
    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    network: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    begun = "<user>Which bees fly in winter?\n<assistant><think>"
    ids = tokenizer(begun, add_special_tokens=False)["input_ids"]

    def go_on(count: int) -> None:
        for _ in range(count):
            with torch.no_grad():
                ids.append(int(network(torch.tensor([ids])).logits[0, -1].argmax()))

    go_on(7)
    closing = tokenizer("\n</think>\n\n", add_special_tokens=False)["input_ids"]
    ids += closing
    go_on(5)
    expected = tokenizer.decode(ids[-5:], skip_special_tokens=True).lstrip()
    for answer, cost in zip(answers, costs, strict=True):
        assert answer == ChatCompletion(expected, "cut_off")
        assert cost.usage.reasoning_tokens == 7 + len(closing)
        assert cost.usage.generated_tokens == 7 + len(closing) + 5
        assert min(cost.stage_seconds["think"], cost.stage_seconds["decode"]) > 0  # measured apart


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>[2] or [1]?</think>\n\n[1] > [2]", "[1] > [2]"),
        ("[2] or [1]?</think>[1]", "[1]"),
        ("<think>[2] or", ""),
        ("[1] > [2]", "[1] > [2]"),
    ],
)
def test_thoughts_are_no_part_of_the_answer(text: str, answer: str) -> None:
    assert after_thoughts(text) == answer
