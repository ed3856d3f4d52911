from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rerankers import RerankRequest, StageClock, create
from rerankers.errors import InputError, ModelError
from rerankers.llm.causal import CausalLM

if TYPE_CHECKING:
    from collections.abc import Callable

QUERY = "why do leaves turn red in autumn"
PASSAGES = [
    "Red leaves get their colour from anthocyanins, made in autumn when sugar is trapped in the leaf.",
    "Autumn begins with the September equinox in the northern hemisphere.",
    "Evergreens keep their needles through the winter. " * 4,
    "",
    "The braces {query} and {passage} are text like any other.",
]
QWEN3 = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the "
    'Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    "<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n"
    "<Query>: {0}\n<Document>: {1}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
)  # the model card of Qwen/Qwen3-Reranker-0.6B
BGE = (
    "A: {0}\nB: {1}\nGiven a query A and a passage B, determine whether the passage contains an answer to "
    "the query by providing a prediction of either 'Yes' or 'No'."
)  # FlagEmbedding's decoder-only reranker


@pytest.fixture(scope="module")
def llm(tiny_llm: str) -> CausalLM:
    return CausalLM(tiny_llm)


def plain_loop(llm: CausalLM, text: str, answers: list[str]) -> float:
    """Score by the definition, one pair at a time: no batch, no padding, no shared prefix."""
    import torch

    with torch.inference_mode():
        logits = llm.model(torch.tensor([llm.tokenizer(text)["input_ids"]])).logits[0, -1]
    chosen = logits[[llm.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in answers]]
    return float(chosen[0] if len(answers) == 1 else chosen.log_softmax(dim=-1)[0])


def scores_of(options: dict[str, Any], requests: list[RerankRequest], clock: StageClock) -> list[list[float]]:
    rankings = create("causal-yes-no", options).rerank(requests, clock)
    score_maps = [dict(zip(ranking.doc_ids, ranking.scores, strict=True)) for ranking in rankings]
    return [
        [scores[candidate.doc_id] for candidate in request.candidates]
        for scores, request in zip(score_maps, requests, strict=True)
    ]


@pytest.mark.parametrize("batch_tokens", [1, 150, 100_000])
@pytest.mark.parametrize(
    ("prompt", "text", "answers"), [("qwen3", QWEN3, ["yes", "no"]), ("bge_gemma", BGE, ["Yes"])]
)
def test_scores_are_those_of_a_plain_loop_over_pairs(
    llm: CausalLM,
    tiny_llm: str,
    prompt: str,
    text: str,
    answers: list[str],
    batch_tokens: int,
    make_request: Callable[..., RerankRequest],
    clock: StageClock,
) -> None:
    queries = [QUERY, "what is an equinox"]
    options = {"model": tiny_llm, "prompt": prompt, "batch_tokens": batch_tokens}
    scores = scores_of(options, [make_request(query, PASSAGES) for query in queries], clock)
    for query, score_by_doc in zip(queries, scores, strict=True):
        expected = [plain_loop(llm, text.format(query, passage), answers) for passage in PASSAGES]
        assert score_by_doc == pytest.approx(expected, abs=1e-4)


def test_the_chat_prompt_is_a_user_message(
    llm: CausalLM, tiny_llm: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    (scores,) = scores_of({"model": tiny_llm, "prompt": "chat"}, [make_request(QUERY, PASSAGES[:2])], clock)
    for score, passage in zip(scores, PASSAGES, strict=False):
        content = (
            f"Query: {QUERY}\nPassage: {passage}\nDoes the passage answer the query? Reply with Yes or No."
        )
        ids = llm.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, return_dict=True
        )["input_ids"]
        text = llm.tokenizer.decode(ids)
        assert "Yes or No." in text
        assert score == pytest.approx(_with_ids(llm, ids), abs=1e-4)


def _with_ids(llm: CausalLM, ids: list[int]) -> float:
    import torch

    with torch.inference_mode():
        logits = llm.model(torch.tensor([ids])).logits[0, -1]
    answers = [llm.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("Yes", "No")]
    return float(logits[answers].log_softmax(dim=-1)[0])


def test_only_the_answers_are_projected_and_the_model_is_still_described_whole(
    llm: CausalLM, tiny_llm: str
) -> None:
    reranker: Any = create("causal-yes-no", {"model": tiny_llm, "prompt": "qwen3"})
    assert reranker._llm.model.get_output_embeddings().out_features == 2
    assert reranker.describe()["parameters"] == llm.describe()["parameters"]


def test_cut_passages_are_counted(
    tiny_llm: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    options = {"model": tiny_llm, "prompt": "qwen3", "max_passage_tokens": 8}
    (ranking,) = create("causal-yes-no", options).rerank([make_request(QUERY, ["red", PASSAGES[2]])], clock)
    assert ranking.usage.passages_truncated == 1


def test_the_wording_must_be_named(tiny_llm: str) -> None:
    with pytest.raises(InputError, match="needs the option 'prompt'"):
        create("causal-yes-no", {"model": tiny_llm})


def test_answers_that_begin_alike_are_refused(tiny_llm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from rerankers.methods.pointwise import causal_yes_no
    from rerankers.pointwise.prompts import YesNoPrompt

    same = YesNoPrompt(source="", text="{query} {passage}", yes="word", no="words", chat=False)
    monkeypatch.setattr(causal_yes_no, "yes_no_prompt", lambda name: same)
    with pytest.raises(ModelError, match="begins word and words with one token"):
        create("causal-yes-no", {"model": tiny_llm, "prompt": "any"})
