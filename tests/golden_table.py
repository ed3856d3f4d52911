"""Prints how far each method is from the outputs of its published code.

    python -m tests.golden_table

One row a method: golden cases, orders that are equal (equal texts may change places), the largest difference
of a score, and the forward passes and tokens that a query of these cases takes on a CPU (means).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from rerankers import RerankRequest, StageClock, create

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rerankers import Reranker

GOLDEN = Path(__file__).parent / "golden"
Case = dict[str, Any]


@dataclass
class Row:
    """What was found of one method.

    Attributes:
        cases: golden cases compared.
        equal: of them, those with the published order.
        largest: the largest difference of a score; None where the published code gives orders alone.
        passes: forward passes of each case.
        tokens: tokens read in these passes, padding included.
    """

    cases: int = 0
    equal: int = 0
    largest: float | None = None
    passes: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    def add(
        self,
        name: str,
        options: dict[str, Any],
        case: Case,
        shown: Callable[[float], float] = lambda score: score,
        instruction: str | None = None,
    ) -> None:
        """Rank a case, and compare.

        Args:
            name: of the reranker.
            options: its options.
            case: has `query`, `passages` and `permutation`, and `scores` where there are some.
            shown: turns our score into the published one.
            instruction: comes with the query.
        """
        passages = case["passages"]
        plain = RerankRequest.of(case["query"], {str(i): text for i, text in enumerate(passages)})
        reranker = built_from(name, json.dumps({"device": "cpu", **options}))
        read: list[int] = []
        hook = register_module_forward_pre_hook(
            lambda module, inputs: (
                read.append(inputs[0].numel()) if isinstance(module, torch.nn.Embedding) else None
            )
        )
        try:
            [ranking] = reranker.rerank([replace(plain, instruction=instruction)], StageClock())
        finally:
            hook.remove()
        order = [int(doc_id) for doc_id in ranking.doc_ids]
        kept = len(case["permutation"])  # one published package leaves out what is beyond the first 100
        texts = [
            [" ".join(passages[i].split()) for i in permutation]
            for permutation in (order[:kept], case["permutation"])
        ]
        self.cases += 1
        self.equal += texts[0] == texts[1]
        self.passes.append(len(read))
        self.tokens.append(sum(read))
        if "scores" in case and len(passages) > 1:
            ours = dict(zip(order, map(shown, ranking.scores), strict=True))
            largest = max(abs(ours[i] - score) for i, score in enumerate(case["scores"]))
            self.largest = max(self.largest or 0.0, largest)

    def __str__(self) -> str:
        largest = "orders alone" if self.largest is None else f"{self.largest:.1e}"
        means = [sum(numbers) / len(numbers) for numbers in (self.passes, self.tokens)]
        return f"{self.cases} | {self.equal} | {largest} | {means[0]:.1f} | {means[1]:,.0f}"


@cache
def built_from(name: str, options: str) -> Reranker:
    """Make a reranker once for all cases with its options."""
    return create(name, json.loads(options))


def published(folder: str, file: str = "golden.json") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((GOLDEN / folder / file).read_text(encoding="utf-8"))
    return content


def e2rank() -> Row:
    row, cases = Row(), published("e2rank")
    for case in cases["cases"]:
        options: dict[str, Any] = {"model": str(GOLDEN / "e2rank"), "control_tokens": "control"}
        options["prompt_passages"] = case["num_input_docs"]
        if case["rank_method"] == "embedding":
            options |= {"mode": "embedding"} | ({"task": case["dataset"]} if "dataset" in case else {})
        if case["sliding_window"]:
            options |= {"window_policy": "sliding", "window": 20, "step": 10}
        row.add("e2rank", options, case)
    for case in cases["readme_form"]:
        options = {"model": str(GOLDEN / "e2rank"), "control_tokens": "control", "prompt": "readme"}
        row.add("e2rank", options, case)
    return row


def jina_v3() -> Row:
    row = Row()
    for case in published("jina_v3")["cases"]:
        limits = {"context": "model_max_length", "max_passage_tokens": "max_doc_length"}
        limits["max_query_tokens"] = "max_query_length"
        options: dict[str, Any] = {"model": str(GOLDEN / "jina_v3"), "control_tokens": "control"}
        row.add("jina-v3", options | {option: case[key] for option, key in limits.items()}, case)
    return row


def normalized(score: float) -> float:
    """Return mxbai's display of a score, whose middle is 12 / 2 for a folder."""
    return 1 / (1 + math.exp(-(score - 12 / 2)))


def yes_no(folder: str, prompt: str, length: str, shown: Callable[[float], float]) -> Row:
    row = Row()
    for case in published(folder)["cases"]:
        options = {"model": str(GOLDEN / folder), "prompt": prompt, "control_tokens": "control"}
        if case[length] != 8192:
            options["max_prompt_tokens"] = case[length]
        as_shown = normalized if case.get("normalize") else shown
        row.add("causal-yes-no", options, case, as_shown, case["instruction"])
    return row


def icr() -> Row:
    row = Row()
    for case in published("icr")["cases"]:
        options = {
            "model": str(GOLDEN / "icr"),
            "control_tokens": "control",
            "retrieval_type": case["retrieval_type"],
            "scoring": case["scoring_strategy"],
            "template": case["prompt_template"],
            "passage_order": "best_last" if case["reverse_doc_order"] else "best_first",
        }
        if case["sliding_window_size"] >= 0:
            options |= {"window_policy": "sliding", "window": case["sliding_window_size"]}
            options |= {"step": case["sliding_window_stride"]}
            case.pop("scores", None)  # of prompts of their own
        row.add("icr", options, case)
    return row


def qrhead() -> Row:
    row = Row()
    for case in published("icr", "golden_qrhead.json")["cases"]:
        if case["kind"] == "quoted":  # where ours differs on purpose
            continue
        titles = case.get("titles") or [None] * len(case["passages"])
        pairs = zip(titles, case["passages"], strict=True)
        case["passages"] = [text if title is None else f"{title}\n{text}" for title, text in pairs]
        heads = "all" if case["heads"] == "full_heads" else case["heads"]
        options = {"model": str(GOLDEN / "icr"), "control_tokens": "control", "retrieval_type": "IE"}
        row.add("icr", {**options, "heads": heads}, case)
    return row


def pe_rank() -> Row:
    row = Row()
    for case in published("pe_rank/mistral")["cases"]:
        has_text = case["kind"] == "window_with_text"
        options = {"model": str(GOLDEN / "pe_rank" / "mistral"), "dtype": "float32", "text": has_text}
        row.add("pe-rank", options, {key: case[key] for key in ("query", "passages", "permutation")})
    return row


def rows() -> Iterator[tuple[str, Row]]:
    """Yield each method and what was found."""
    yield "pe-rank", pe_rank()
    yield "e2rank", e2rank()
    yield "jina-v3", jina_v3()
    yield "causal-yes-no, qwen3", yes_no("qwen3_reranker", "qwen3", "max_length", math.exp)
    yield "causal-yes-no, mxbai_v2", yes_no("mxbai_rerank_v2", "mxbai_v2", "max_length_given", float)
    yield "icr", icr()
    yield "icr, chosen heads", qrhead()


if __name__ == "__main__":
    print("| method | cases | equal orders | largest difference | passes a query | tokens a query |")
    print("|---|---|---|---|---|---|")
    for name, row in rows():
        print(f"| {name} | {row} |", flush=True)
