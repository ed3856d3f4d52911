"""Outputs of the published implementation on a tiny random checkpoint, reproduced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from rerankers.methods.pe_rank import PERankOptions
from rerankers.pe_rank.decoding import WindowDecoder
from rerankers.pe_rank.formats.checkpoint import Source, load_checkpoint
from rerankers.pe_rank.greedy import first_scores, plain_order
from rerankers.pe_rank.reranker import PERank

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerankers import RerankRequest, StageClock
    from rerankers.pe_rank.formats.checkpoint import Checkpoint

FOLDER = Path(__file__).parents[2] / "golden" / "pe_rank" / "mistral"
CASES: list[dict[str, Any]] = json.loads((FOLDER / "golden.json").read_text())["cases"]
IDS = [f"{number}-{case['kind']}-{len(case['passages'])}" for number, case in enumerate(CASES)]
WAYS: dict[str, dict[str, Any]] = {
    "eager": {"forward_passes": "eager"}, "static": {"forward_passes": "static"}, "plain": {"exact": True},
    "buckets": {"forward_passes": "compiled"},  # that run uncaptured, for the warm-up is over
}  # fmt: skip
SINGLE = [(case, name) for case, name in zip(CASES, IDS, strict=True) if "prompt_token_ids" in case]


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    source = Source(str(FOLDER), None, None, None, "auto", None, False)
    return load_checkpoint(source, dtype="float32", device="cpu", attention="auto")


@pytest.fixture(scope="module")
def rerankers() -> dict[tuple[bool, str], PERank]:
    """By whether the prompt has the passages' text, and by the way of decoding."""
    made = {
        (text, way): PERank(
            PERankOptions(model=str(FOLDER), text=text, dtype="float32", device="cpu", **options)
        )
        for text in (False, True)
        for way, options in WAYS.items()
    }
    for reranker in made.values():
        reranker.end_warm_up()
    return made


def test_there_are_eighteen_cases() -> None:
    assert len(CASES) == 18
    assert len(SINGLE) == 13


@pytest.mark.parametrize("case", [case for case, _ in SINGLE], ids=[name for _, name in SINGLE])
def test_prompt_scores_and_order_of_a_window(checkpoint: Checkpoint, case: dict[str, Any]) -> None:
    texts = case["passages"] if case["kind"] == "window_with_text" else None
    prompt = checkpoint.llm.writer.write(case["query"], len(case["passages"]), texts)
    assert list(prompt.token_ids) == case["prompt_token_ids"]
    projected = checkpoint.llm.project(checkpoint.encoder.encode(case["passages"]))
    if "first_projected_embedding" in case:
        expected = torch.tensor(case["first_projected_embedding"])
        assert torch.allclose(projected[0], expected, atol=1e-4)
    scores = first_scores(checkpoint.llm, prompt, projected)
    assert torch.allclose(scores, torch.tensor(case["first_step_logits"]), atol=1e-3)
    assert plain_order(checkpoint.llm, prompt, projected) == case["permutation"]


@pytest.mark.parametrize("case", [case for case, _ in SINGLE], ids=[name for _, name in SINGLE])
def test_static_passes_give_the_scores_of_eager_ones(checkpoint: Checkpoint, case: dict[str, Any]) -> None:
    llm = checkpoint.llm
    texts = case["passages"] if case["kind"] == "window_with_text" else None
    prompt = llm.writer.write(case["query"], len(case["passages"]), texts)
    projected = llm.project(checkpoint.encoder.encode(case["passages"]))
    eager = first_scores(llm, prompt, projected)
    assert llm.use_static_passes() is None
    exact_shapes = WindowDecoder(llm)
    assert llm.capture_passes("compiled") is None
    assert llm.captured is not None
    llm.captured.close()
    for decoder in (exact_shapes, WindowDecoder(llm)):
        batch = decoder.prefill([prompt], projected[None])
        scores = batch.scores(batch.hidden[:, None])[0, 0]
        assert (scores - eager).abs().max() <= 1e-5 * eager.abs().max()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_reranker_gives_the_reference_permutation(
    rerankers: dict[tuple[bool, str], PERank],
    make_request: Callable[..., RerankRequest],
    clock: StageClock,
    case: dict[str, Any],
    way: str,
) -> None:
    reranker = rerankers[case["kind"] == "window_with_text", way]
    ranking = reranker.rerank([make_request(case["query"], case["passages"])], clock)[0]
    assert ranking.doc_ids == tuple(f"d{i}" for i in case["permutation"])
