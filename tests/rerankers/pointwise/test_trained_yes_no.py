"""Qwen3-Reranker and mxbai-rerank-v2, compared with the outputs of their published codes."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from torch.nn.modules.module import register_module_forward_hook

from rerankers import RerankRequest, StageClock, create
from rerankers.errors import InputError, ModelError
from rerankers.pointwise.base import Pair
from rerankers.registry import validated

if TYPE_CHECKING:
    from collections.abc import Sequence

GOLDEN = Path(__file__).parents[2] / "golden"
PROBABILITY, LOGIT = 5e-5, 1e-4  # the references' READMEs
DEFAULT_LENGTH = 8192


def cases(folder: str, section: str = "cases") -> list[Any]:
    matching = json.loads((GOLDEN / folder / "golden.json").read_text(encoding="utf-8"))[section]
    return [pytest.param(case, id=case["kind"]) for case in matching]


@cache
def yes_no_reranker(folder: str, prompt: str, length: int = DEFAULT_LENGTH, **options: Any) -> Any:
    """Return the published codes read control tokens as such."""
    limit = {} if length == DEFAULT_LENGTH else {"max_prompt_tokens": length}
    all_options = {
        "model": str(GOLDEN / folder),
        "prompt": prompt,
        "control_tokens": "control",
        **limit,
        **options,
    }
    return create("causal-yes-no", all_options)


def check_tokens(reranker: Any, pairs: Sequence[Pair], case: dict[str, Any]) -> None:
    ids = [row for _, row in reranker.tokenize(pairs).inputs]
    assert [len(row) for row in ids] == case["prompt_lengths"]
    if "prompt_token_ids" in case:
        assert ids[: len(case["prompt_token_ids"])] == case["prompt_token_ids"]
    else:
        joined = [",".join(map(str, row)).encode() for row in ids]
        assert [hashlib.sha256(row).hexdigest() for row in joined] == case["prompt_sha256"]


def ranked(reranker: Any, pairs: Sequence[Pair]) -> tuple[list[int], list[float]]:
    """Positions best first, and scores by position; all pairs are of one query."""
    [(query, instruction)] = {(pair.query, pair.instruction) for pair in pairs}
    request = RerankRequest.of(query, {str(i): pair.passage for i, pair in enumerate(pairs)})
    [ranking] = reranker.rerank([replace(request, instruction=instruction)], StageClock())
    order = [int(doc_id) for doc_id in ranking.doc_ids]
    scores = dict(zip(order, ranking.scores, strict=True))
    return order, [scores[i] for i in range(len(order))]


@pytest.mark.parametrize("case", cases("qwen3_reranker"))
def test_qwen3_scores_as_its_readme_does(case: dict[str, Any]) -> None:
    reranker = yes_no_reranker("qwen3_reranker", "qwen3", case["max_length"])
    pairs = [Pair(case["query"], passage, case["instruction"]) for passage in case["passages"]]
    check_tokens(reranker, pairs, case)
    order, scores = ranked(reranker, pairs)
    assert [math.exp(score) for score in scores] == pytest.approx(case["scores"], abs=PROBABILITY)
    differences = zip(case["logit_yes"], case["logit_no"], strict=True)
    expected = [-math.log1p(math.exp(no - yes)) for yes, no in differences]
    assert scores == pytest.approx(expected, abs=LOGIT)
    if not case["identical_passages"]:
        assert order == case["permutation"]


@pytest.mark.parametrize("case", cases("qwen3_reranker", "evaluation_cases"))
def test_qwen3_scores_as_its_evaluation_does(case: dict[str, Any]) -> None:
    reranker = yes_no_reranker("qwen3_reranker", "qwen3_evaluation", case["max_length"])
    pairs = [
        Pair(query[1], passage, query[0])
        if isinstance(query, list)
        else Pair(query, passage, case["instruction"])
        for query, passage in case["pairs"]
    ]
    check_tokens(reranker, pairs, case)
    scores = [ranked(reranker, [pair])[1][0] for pair in pairs]
    assert [math.exp(score) for score in scores] == pytest.approx(case["scores"], abs=PROBABILITY)


@pytest.mark.parametrize("case", cases("mxbai_rerank_v2"))
def test_mxbai_scores_as_its_package_does(case: dict[str, Any]) -> None:
    reranker = yes_no_reranker("mxbai_rerank_v2", "mxbai_v2", case["max_length_given"])
    assert reranker.describe()["max_pair_tokens"] == case["max_length_used"]
    pairs = [Pair(case["query"], passage, case["instruction"]) for passage in case["passages"]]
    check_tokens(reranker, pairs, case)
    order, scores = ranked(reranker, pairs)
    if case["normalize"]:  # the package's display of scores: m is 12 for a folder
        scores = [1 / (1 + math.exp(-(score - 12 / 2))) for score in scores]
    assert scores == pytest.approx(case["scores"], abs=LOGIT)
    if not case["identical_passages"]:
        kept = len(case["permutation"])  # `top_k` of the package drops the others
        assert order[:kept] == case["permutation"]


def test_an_instruction_of_the_reranker_comes_before_that_of_the_query() -> None:
    pairs = [Pair("bridges", "a bridge", None), Pair("bridges", "a bridge", "the query's")]
    texts = {}
    for instruction in (None, "the option's"):
        reranker = yes_no_reranker(
            "qwen3_reranker", "qwen3", **({"instruction": instruction} if instruction else {})
        )
        tokenizer = reranker._llm.tokenizer
        texts[instruction] = [tokenizer.decode(row) for _, row in reranker.tokenize(pairs).inputs]
    default = "Given a web search query, retrieve relevant passages that answer the query"
    assert [
        f"<Instruct>: {instruction_read}\n" in text
        for instruction_read, text in zip((default, "the query's"), texts[None], strict=True)
    ]
    assert all("<Instruct>: the option's\n" in text for text in texts["the option's"])


def test_the_query_is_prefilled_once_and_only_two_logits_are_computed() -> None:
    reranker = yes_no_reranker("qwen3_reranker", "qwen3", batch_tokens=100_000, device="cpu")
    read: list[tuple[int, ...]] = []
    projected: list[tuple[int, ...]] = []
    pairs = [Pair("who guides ships past the sandbank", f"the ferry {i}") for i in range(8)]
    lengths = [len(row) for _, row in reranker.tokenize(pairs).inputs]

    def note(module: Any, inputs: Any, output: Any) -> None:
        if type(module).__name__ == "Embedding":
            read.append(tuple(inputs[0].shape))
        if type(module).__name__ == "Linear" and module.out_features == 2:
            projected.append(tuple(output.shape))

    hook = register_module_forward_hook(note)
    try:
        ranked(reranker, pairs)
    finally:
        hook.remove()
    (_, shared), *batches = read
    assert shared > 0.8 * min(lengths)
    assert [rows for rows, _ in batches] == [1] * len(batches)  # packed, without padding
    assert shared + sum(tokens for _, tokens in batches) == sum(lengths) - 7 * shared
    assert [shape[1:] for shape in projected] == [(1, 2)] * len(read)


@pytest.mark.parametrize(
    ("prompt", "option", "value", "reason"),
    [
        ("chat", "instruction", "judge by age", "instruction: this prompt has none"),
        ("bge_gemma", "max_prompt_tokens", 100, "max_prompt_tokens: this prompt has none"),
        ("qwen3", "template_variables", {"enable_thinking": False}, "uses no chat template"),
        ("qwen4", "instruction", None, "qwen3"),
    ],
)
def test_options_that_the_prompt_does_not_use_are_refused(
    prompt: str, option: str, value: Any, reason: str
) -> None:
    options = {"model": str(GOLDEN / "qwen3_reranker"), "prompt": prompt, option: value}
    with pytest.raises(InputError, match=reason):
        validated("causal-yes-no", options)


@pytest.mark.parametrize(("folder", "prompt"), [("qwen3_reranker", "qwen3"), ("mxbai_rerank_v2", "mxbai_v2")])
def test_limits_that_leave_no_room_are_refused(folder: str, prompt: str) -> None:
    with pytest.raises(ModelError, match="max_prompt_tokens"):
        create("causal-yes-no", {"model": str(GOLDEN / folder), "prompt": prompt, "max_prompt_tokens": 3})


def test_a_dataset_instruction_is_read_unless_the_reranker_has_one() -> None:
    options = {"model": "m", "prompt": "mxbai_v2"}
    assert validated("causal-yes-no", options).reads_instruction
    assert not validated("causal-yes-no", {**options, "instruction": "own"}).reads_instruction
    assert not validated("causal-yes-no", {"model": "m", "prompt": "bge_gemma"}).reads_instruction
    parts = [{"name": "first-stage"}, {"name": "causal-yes-no", "options": options}]
    assert validated("fusion", {"parts": parts}).reads_instruction
    assert not validated("fusion", {"parts": parts[:1] * 2}).reads_instruction


def test_a_cascade_hands_the_instruction_on() -> None:
    options = {"model": str(GOLDEN / "qwen3_reranker"), "prompt": "qwen3"}
    steps = [{"name": "first-stage"}, {"name": "causal-yes-no", "options": options, "depth": 5}]
    cascade, alone = create("cascade", {"steps": steps}), create("causal-yes-no", options)
    passages = {str(i): f"the ferry {i} carries {'nets ' * i}" for i in range(5)}
    plain = RerankRequest.of("who guides ships", passages)
    request = replace(plain, instruction="Find the longest passage.")
    rankings = {
        kind: reranker.rerank([query_request], StageClock())[0].doc_ids
        for kind, reranker, query_request in [
            ("cascade", cascade, request),
            ("alone", alone, request),
            ("without", alone, plain),
        ]
    }
    assert rankings["cascade"] == rankings["alone"] != rankings["without"]
