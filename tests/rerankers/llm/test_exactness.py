"""Language models that keep a recurrent state or ignore the mask rank as their authors' code reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from rerankers import create
from rerankers.chat.conversation import ChatCall, Conversation, Message
from rerankers.chat.in_process import TransformersChat
from rerankers.errors import ModelError
from rerankers.interface import Cost
from rerankers.listwise.prompts import load_prompt
from rerankers.llm.causal import CausalLM
from rerankers.methods.chat import ChatOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerankers import RerankRequest, StageClock

KINDS = ["Mamba", "Lfm2", "Qwen3Next", "Mpt", "Bloom", "Gemma2"]
QUERY = "why do lighthouse keepers count the bees that fly over the northern reef before the first frost " * 2
PASSAGES = [
    "Bees return to the hive before the first frost.",
    "A glacier.",
    "The city library lends maps and sheet music to visitors. " * 4,
    "",
    "An old lighthouse warns sailors of the northern reef, and the keeper counts them.",
]


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, tiny_causal: Callable[[str], str]) -> str:
    return tiny_causal(request.param)


@pytest.fixture(scope="module")
def llm(model: str) -> CausalLM:
    return CausalLM(model, dtype="float32", device="cpu")


def logits_of(llm: CausalLM, ids: list[int]) -> torch.Tensor:
    """Compute the definition: one prompt, no batch, no padding, no cache, (tokens, vocabulary)."""
    with torch.inference_mode():
        logits: torch.Tensor = llm.model(torch.tensor([ids]), use_cache=False).logits[0]
    return logits


def scores_of(name: str, options: dict[str, Any], request: RerankRequest, clock: StageClock) -> list[float]:
    (ranking,) = create(name, {"dtype": "float32", "device": "cpu", **options}).rerank([request], clock)
    by_id = dict(zip(ranking.doc_ids, ranking.scores, strict=True))
    return [by_id[candidate.doc_id] for candidate in request.candidates]


def test_yes_no_scores_are_those_of_prompts_read_alone(
    model: str, llm: CausalLM, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    request = make_request(QUERY, PASSAGES)
    scores = scores_of("causal-yes-no", {"model": model, "prompt": "bge_gemma"}, request, clock)
    expected = []
    for passage in PASSAGES:
        text = (
            f"A: {QUERY}\nB: {passage}\nGiven a query A and a passage B, determine whether the passage "
            "contains an answer to the query by providing a prediction of either 'Yes' or 'No'."
        )
        yes = llm.tokenizer("Yes", add_special_tokens=False)["input_ids"][0]
        expected.append(float(logits_of(llm, llm.tokenizer(text)["input_ids"])[-1, yes]))
    assert scores == pytest.approx(expected, abs=1e-4)


def test_query_likelihoods_are_those_of_prompts_read_alone(
    model: str, llm: CausalLM, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    passages = [
        "The same long introduction stands here. " * 12 + tail for tail in ("ocean", "wool", "a", "b")
    ]
    scores = scores_of("query-likelihood", {"model": model}, make_request(QUERY, passages), clock)
    expected = []
    for passage in passages:
        start = llm.tokenizer(f"Passage: {passage}\nQuery:")["input_ids"]
        ids = llm.tokenizer(f"Passage: {passage}\nQuery: {QUERY}")["input_ids"]
        table = logits_of(llm, ids).log_softmax(-1)
        query = range(len(start), len(ids))
        expected.append(sum(float(table[i - 1, ids[i]]) for i in query) / len(query))
    assert scores == pytest.approx(expected, abs=1e-4)


def test_first_orders_by_the_letters_logits_of_a_prompt_read_alone(
    model: str, llm: CausalLM, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    reranker = create("first", {"model": model, "dtype": "float32", "device": "cpu"})
    (ranking,) = reranker.rerank([make_request("bees", PASSAGES)], clock)
    system, user = load_prompt("first").messages("bees", [passage.strip() for passage in PASSAGES], "ABCDE")
    joined = [{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}]  # no system role
    begun = llm.tokenizer.apply_chat_template(joined, add_generation_prompt=True, tokenize=False) + "["
    letters = [llm.tokenizer(begun + letter, add_special_tokens=False)["input_ids"][-1] for letter in "ABCDE"]
    logits = logits_of(llm, llm.tokenizer(begun, add_special_tokens=False)["input_ids"])[-1, letters]
    assert ranking.doc_ids == tuple(f"d{i}" for i in logits.argsort(descending=True, stable=True).tolist())


def answers_of(model: str, dtype: Any, at_once: int, clock: StageClock) -> tuple[list[str], TransformersChat]:
    chat = TransformersChat(
        ChatOptions(backend="transformers", model=model, dtype=dtype, device="cpu", concurrency=at_once)
    )

    def conversation(passage: str) -> Conversation[str]:
        lines = []
        for question in ("Which bees fly? ", "Which bees fly? Say why. "):
            messages: list[Message] = [{"role": "user", "content": question + passage}]
            [answer] = yield [ChatCall(messages, 6, Cost())]
            lines.append(answer.text)
        return " / ".join(lines)

    return chat.run([conversation(passage * 3) for passage in PASSAGES], clock), chat


def test_chat_answers_are_those_of_prompts_read_alone(model: str, llm: CausalLM, clock: StageClock) -> None:
    answers, _ = answers_of(model, "float32", 4, clock)
    for passage, answer in zip(PASSAGES, answers, strict=True):
        expected = []
        for question in ("Which bees fly? ", "Which bees fly? Say why. "):
            messages = [{"role": "user", "content": question + passage * 3}]
            ids = llm.tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
            written: list[int] = []
            while len(written) < 6 and llm.tokenizer.eos_token_id not in written:
                written.append(int(logits_of(llm, ids + written)[-1].argmax()))
            expected.append(llm.tokenizer.decode(written, skip_special_tokens=True))
        assert answer == " / ".join(expected)


def test_a_model_without_a_usable_cache_reads_everything_again(
    tiny_causal: Callable[[str], str], clock: StageClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached, _ = answers_of(tiny_causal("Mamba"), "float32", 4, clock)
    monkeypatch.setattr("rerankers.llm.exactness.CACHE_NAMES", ("past_key_values",))
    again, chat = answers_of(tiny_causal("Mamba"), "float32", 4, clock)
    assert chat._llm.exactness.cache_name is None
    assert again == cached


def test_pe_rank_refuses_a_model_that_ignores_masks(
    tiny_causal: Callable[[str], str], tiny_llm: str, tiny_encoder: str
) -> None:
    for ordinary in (tiny_llm, tiny_causal("Gemma2")):
        create("pe-rank", {"model": ordinary, "encoder": tiny_encoder})
    for kind in ("Mpt", "Mamba", "Lfm2"):
        with pytest.raises(ModelError, match=r"does not honour|cannot read|recurrent state"):
            create("pe-rank", {"model": tiny_causal(kind), "encoder": tiny_encoder})


def test_the_record_says_how_prompts_are_read(tiny_llm: str, tiny_causal: Callable[[str], str]) -> None:
    ways = ("pads", "shares", "decodes")
    assert CausalLM(tiny_llm).exactness.describe(*ways) == {}
    assert CausalLM(tiny_llm, dtype="bfloat16").exactness.describe(*ways) == {}
    mpt = CausalLM(tiny_causal("Mpt")).exactness.describe(*ways)
    assert mpt == {"reading": "without decoding in batches, which would change logits"}
    described = create("query-likelihood", {"model": tiny_causal("Lfm2")}).describe()
    assert described["reading"] == "without shared prefixes, which would change logits"
