"""Windows that are drafted ahead get the ranks of step-by-step greedy decoding, in fewer forward passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import _disable_current_modes

from rerankers import StageClock
from rerankers.encoders.transfer import read_array
from rerankers.methods.pe_rank import PERankOptions
from rerankers.pe_rank.depth import lossless_depths
from rerankers.pe_rank.greedy import plain_order
from rerankers.pe_rank.look_ahead import token_tree
from rerankers.pe_rank.look_ahead.sliding_query import SlidingQuery, SlidingWindow
from rerankers.pe_rank.look_ahead.token_tree import ROOT, TokenTree, passage_item
from rerankers.pe_rank.model import PassageLLM
from rerankers.pe_rank.reranker import PERank
from tests.rerankers.pe_rank.test_decoding import no_host_reads, passage_llm, passages

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers import RerankRequest


@pytest.fixture(scope="module", params=[True, False], ids=["buckets", "eager"])
def model(request: pytest.FixtureRequest, tiny_llm: str) -> PassageLLM:
    """Return a model with passes in buckets, or with transformers' own."""
    return passage_llm(tiny_llm, 5, has_static_passes=request.param, has_buckets=request.param)


def sliding(count: int, window: int, step: int, top: int) -> list[SlidingWindow]:
    """Return windows from the tail to the head, the last one clipped at the head."""
    ends = range(count, window - 1, -step) if count > window else [count]
    bounds = [(max(0, end - window), end) for end in ends]
    if bounds[-1][0] > 0:
        bounds.append((0, bounds[-1][0] + step))
    depths = zip(bounds, lossless_depths(bounds, top), strict=True)
    return [SlidingWindow(*each, min(depth, each[1] - each[0] - 1)) for each, depth in depths if depth]


def plain(model: PassageLLM, query: str, windows: list[SlidingWindow], projected: torch.Tensor) -> list[int]:
    """Return the order by one greedy window after the other."""
    order = list(range(len(projected)))
    for start, end, depth in windows:
        shown = order[start:end]
        prompt = model.writer.write(query, len(shown))
        order[start:end] = [shown[i] for i in plain_order(model, prompt, projected[shown], depth)]
    return order


def look_ahead(
    tree: TokenTree, query: str, windows: list[SlidingWindow], projected: torch.Tensor, free_tokens: int
) -> SlidingQuery:
    write = tree._model.writer.write
    ranked = SlidingQuery(tree, windows, lambda count: write(query, count), projected, None, free_tokens)
    while not ranked.is_over:
        ranked.run_pass()
    return ranked


@settings(max_examples=7, deadline=None, derandomize=True)
@given(
    count=st.integers(2, 14),
    shape=st.sampled_from([(4, 2), (6, 3), (5, 4), (5, 5), (14, 7)]),
    top=st.integers(1, 14),
    free_tokens=st.sampled_from([1, 8, 24, 64, 90, 256]),
    query=st.text("abc deé", max_size=12),
    seed=st.integers(0, 10**6),
)
def test_the_order_is_that_of_plain_windows(
    model: PassageLLM,
    count: int,
    shape: tuple[int, int],
    top: int,
    free_tokens: int,
    query: str,
    seed: int,
) -> None:
    projected, windows = passages(model, 1, count, seed)[0], sliding(count, *shape, top)
    tree = TokenTree(model)
    for text in (query, query + "!"):  # the second finds the start of its prompt in the tree
        ranked = look_ahead(tree, text, windows, projected, free_tokens)
        assert ranked.order == plain(model, text, windows, projected)
        assert len(windows) <= ranked.passes <= sum(window.depth for window in windows)


def test_more_free_tokens_save_passes(model: PassageLLM) -> None:
    projected, windows = passages(model, 1, 40, 0)[0], sliding(40, 10, 5, 5)
    few, many = (look_ahead(TokenTree(model), "bees", windows, projected, n).passes for n in (1, 512))
    assert many < 0.8 * few


def test_a_node_has_the_scores_of_its_own_sequence(model: PassageLLM) -> None:
    """Branches, tokens behind branches, and what is left after nodes were removed, run in several passes."""
    projected, tree = passages(model, 1, 6, 1)[0], TokenTree(model)
    sequences = [[7, 3, 9, -1, -4], [7, 3, 9, -4, -1], [7, 3, 8, -2, 5], [7, 3, 8, -2, 6, -1], [2, -6]]

    def check(sequence: list[int]) -> None:
        inputs = torch.stack(
            [projected[-1 - item] if item < 0 else model.embed(torch.tensor(item)) for item in sequence]
        )[None]
        with torch.inference_mode():
            hidden = model.forward(inputs, torch.arange(len(sequence))[None], model.new_cache())
        [*_, node] = tree.path(sequence)
        expected = projected @ hidden[0, -1]
        torch.testing.assert_close(torch.from_numpy(tree.scores(node)), expected, atol=1e-4, rtol=1e-4)

    for run in (sequences[:2], sequences[2:]):
        for sequence in run:
            node = ROOT
            for item in sequence:
                node = tree.add(node, item)
        tree.run(projected, None)
    for sequence in sequences:
        check(sequence)
    behind = tree.below(tree.path([7, 3, 8])[-1])
    tree.keep([*tree.path([7, 3]), *behind])
    assert [tree.path(sequence) for sequence in sequences[:2]] == [[0, 1]] * 2
    tree.add(tree.path(sequences[3])[-1], passage_item(4))
    tree.run(projected, None)
    for sequence in (*sequences[2:4], [*sequences[3], passage_item(4)]):
        check(sequence)


def test_the_host_waits_once_a_pass_and_nowhere_else(
    model: PassageLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []

    def counted(tensor: torch.Tensor) -> Any:
        reads.append(tensor.numel())
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            return read_array(tensor)

    monkeypatch.setattr(token_tree, "read_array", counted)
    projected, windows = passages(model, 1, 20, 0)[0], sliding(20, 8, 4, 4)
    tree = TokenTree(model)
    with no_host_reads():
        ranked = look_ahead(tree, "bees", windows, projected, 128)
    assert len(reads) == ranked.passes


def test_a_pass_that_failed_leaves_nothing_behind(model: PassageLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    projected, windows = passages(model, 1, 12, 2)[0], sliding(12, 6, 3, 3)
    tree = TokenTree(model)
    for successes in (0, 2):
        left = iter(range(successes))

        def forward(*inputs: Any, left: Any = left) -> torch.Tensor:
            if next(left, None) is None:
                raise RuntimeError("out of memory")
            return PassageLLM.forward(model, *inputs)

        with monkeypatch.context() as patch:
            patch.setattr(model, "forward", forward)
            with pytest.raises(RuntimeError):
                look_ahead(tree, "bees", windows, projected, 64)
        assert look_ahead(tree, "ants", windows, projected, 64).order == plain(
            model, "ants", windows, projected
        )


def test_a_query_alone_takes_fewer_passes_for_the_same_answer(
    golden: Path, make_request: Callable[..., RerankRequest]
) -> None:
    """Duplicate texts, and the counts of tokens and windows, are those of decoding within windows."""
    texts = [f"{word} {place}" for place in range(5) for word in ("bees", "frost", "maple", "reef", "sand")]
    texts[17] = texts[11] = texts[3]
    request = make_request("glacier night", texts)
    usages, orders = [], []
    for free_tokens in (1, 256):
        options = PERankOptions(
            model=str(golden / "pe_rank" / "mistral"),
            device="cpu",
            dtype="float32",
            window=8,
            step=4,
            top_k=4,
            free_tokens=free_tokens,
        )
        reranker = PERank(options)
        assert reranker.describe()["free_tokens"] == free_tokens
        [ranking] = reranker.rerank([request], StageClock())
        usages.append(ranking.usage)
        orders.append(ranking.doc_ids)
    assert orders[0] == orders[1]
    within, ahead = usages
    assert 0 <= ahead.decode_steps < within.decode_steps
    for name in ("windows", "llm_calls", "sequential_calls", "prompt_tokens", "cached_tokens", "depths"):
        assert getattr(within, name) == getattr(ahead, name)
