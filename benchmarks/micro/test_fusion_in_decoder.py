"""LiT5-Distill and ListT5 as published against ours: same weights, same process, same first ten ranks.

    pytest benchmarks/micro/test_fusion_in_decoder.py --benchmark-only

T5s of 4 + 4 layers of width 256 that answer as the golden checkpoints do (`workloads/widened_t5.py`),
float32, one thread. Prompts have about 125 tokens; the published codes pad them to 150 and 256 (ListT5).
LiT5's golden checkpoint names passages twice and leaves others out. Its answers are therefore scripted
permutations, the same both ways, as those of a checkpoint are that has learned its task. Seconds are the
process's CPU seconds, so that other work on the machine does not count.
"""

from __future__ import annotations

import json
import os
import random
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.micro.workloads.published_fusion_in_decoder import PublishedFusion, listt5_order, lit5_order
from benchmarks.micro.workloads.scripted_answers import ScriptedAnswers
from benchmarks.micro.workloads.ways import ask, compare, whole_model
from benchmarks.micro.workloads.widened_t5 import save_widened
from rerankers import RerankRequest, create
from rerankers.listwise.fusion_in_decoder.listt5 import RENAMED
from rerankers.models.locate import find_model
from rerankers.models.vocabulary import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parents[2] / "tests" / "golden"
WINDOWS = 9  # of LiT5, at most
ROUNDS = int(os.environ.get("RERANKBENCH_BENCH_ROUNDS", "3"))
SHAPE = {
    "d_model": 256,
    "d_ff": 1024,
    "d_kv": 64,
    "num_heads": 4,
    "num_layers": 4,
    "num_decoder_layers": 4,
    "vocab_size": 32128,
}
PASSAGE_TOKENS = 75  # as MS MARCO's, on average
FIGURES = {"lit5": "lit5/speedup", "listt5": "listt5/speedup"}
METHODS: list[tuple[str, int, int, int, Callable[..., list[int]]]] = [
    ("lit5", 40, 150, 140, lit5_order),  # depth, and the published limits of a prompt and of an answer
    ("listt5", 100, 256, 7, listt5_order),
]


pytestmark = pytest.mark.usefixtures("one_thread")


def request_of(method: str, depth: int, tokenizer: Any) -> RerankRequest:
    """Return a query with `depth` passages made of the golden file's, as long as MS MARCO's (75 tokens)."""
    cases = json.loads((GOLDEN / method / "golden.json").read_text(encoding="utf-8"))["cases"]
    case = max(cases, key=lambda each: len(each["passages"]))
    draw = random.Random(0)  # noqa: S311 - no secret
    passages = []
    for _ in range(depth):
        length, parts = max(20, min(130, draw.gauss(PASSAGE_TOKENS, 25))), [""]
        while len(tokenizer(" ".join(parts))["input_ids"]) < length:
            parts.append(draw.choice(case["passages"]).strip())
        passages.append(" ".join(parts).strip())
    return RerankRequest.of(case["query"], {str(i): text for i, text in enumerate(passages)})


def permutations_of(tokenizer: Any) -> list[list[int]]:
    """Return the answers of LiT5's windows: permutations of 20 numbers, as token ids."""
    draw = random.Random(0)  # noqa: S311 - no secret
    answers = [" > ".join(f"[{number}]" for number in draw.sample(range(1, 21), 20)) for _ in range(WINDOWS)]
    return [tokenizer(answer)["input_ids"] for answer in answers]


@pytest.mark.parametrize(("method", "depth", "max_prompt_tokens", "max_length", "published"), METHODS)
def test_the_same_order_as_published_and_ours(
    method: str,
    depth: int,
    max_prompt_tokens: int,
    max_length: int,
    published: Callable[..., list[int]],
    tmp_path: Path,
    benchmark: Any,
    measured: Callable[[str, float], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    renamed = RENAMED if method == "listt5" else {}
    save_widened(GOLDEN / method, tmp_path, SHAPE, renamed)
    options: dict[str, object] = {"model": str(tmp_path), "device": "cpu", "control_tokens": "control"}
    options |= {"max_new_tokens": max_length - 1} if method == "lit5" else {}
    rerankers: dict[str, Any] = {"ours": create(method, options)}
    if method == "lit5":
        rerankers["ours, top: 10"] = create(method, {**options, "top": 10})
    tokenizer: Any = load_tokenizer(find_model(str(tmp_path)))
    network = whole_model("T5ForConditionalGeneration", str(tmp_path))
    fusion = PublishedFusion(network, tokenizer, max_prompt_tokens, max_length)
    request = request_of(method, depth, tokenizer)
    texts = [candidate.text for candidate in request.candidates]
    scripted = []
    if method == "lit5":
        networks = [network, *(reranker.network.model for reranker in rerankers.values())]
        scripted = [ScriptedAnswers(model, permutations_of(tokenizer)) for model in networks]
    steps: dict[str, int] = {}

    def as_published() -> list[float]:
        fusion.steps = 0
        for answers in scripted:
            answers.restart()
        order = published(fusion, request.query, texts)
        steps["published"] = fusion.steps
        return list(map(float, order[:10]))

    def ours(name: str) -> list[float]:
        for answers in scripted:
            answers.restart()
        [ranking] = ask(rerankers[name], [request])
        steps[name] = ranking.usage.decode_steps
        return list(map(float, ranking.doc_ids[:10]))

    ways: dict[str, Callable[[], list[float]]] = {
        "published": as_published,
        **{name: partial(ours, name) for name in rerankers},
    }
    compare(f"{method}, top {depth}", ways, benchmark, capsys, ROUNDS)
    with capsys.disabled():
        print("decoder steps:", ", ".join(f"{name} {count}" for name, count in steps.items()))
    measured(FIGURES[method], benchmark.extra_info[[*rerankers][-1]])
