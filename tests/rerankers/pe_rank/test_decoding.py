"""The fast decoder gives the plain decoder's places."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from rerankers.encoders.transfer import read_back
from rerankers.llm.causal import CausalLM
from rerankers.pe_rank import decoding
from rerankers.pe_rank import speculative as drafting
from rerankers.pe_rank.cache import WindowCache
from rerankers.pe_rank.decoding import WindowDecoder
from rerankers.pe_rank.greedy import plain_order
from rerankers.pe_rank.layout import PADDING
from rerankers.pe_rank.model import PassageLLM
from rerankers.pe_rank.projector import untrained_projector
from rerankers.pe_rank.prompt import PromptTemplate, PromptWriter
from rerankers.pe_rank.speculative import DraftMemory, DraftPolicy, draft_and_verify, free_tokens_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENCODER_DIMENSION = 32
aten = torch.ops.aten


def passage_llm(
    folder: str,
    seed: int,
    attention: Any = "auto",
    *,
    has_static_passes: bool = False,
    has_buckets: bool = False,
) -> PassageLLM:
    """Return a random model: its weights are drawn afresh, large enough that scores differ.

    With buckets, it runs the passes that are not captured because the warm-up is over.
    """
    base = CausalLM(folder, dtype="float32", device="cpu", attention=attention)
    torch.manual_seed(seed)
    for weight in base.model.parameters():
        if weight.ndim == 2:
            weight.normal_(std=0.2)
    projector = untrained_projector(ENCODER_DIMENSION, base.model.get_input_embeddings().weight, seed)
    model = PassageLLM(base.model, projector, PromptWriter(base.tokenizer, PromptTemplate()))
    if has_static_passes:
        assert model.use_static_passes() is None
    if has_buckets:
        assert model.capture_passes("compiled") is None
        assert model.captured is not None
        model.captured.close()
    return model


@pytest.fixture(scope="module", params=[(0, True, False), (1, False, False), (2, True, True)])
def model(request: pytest.FixtureRequest, tiny_llm: str) -> PassageLLM:
    seed, has_static_passes, has_buckets = request.param
    return passage_llm(tiny_llm, seed, has_static_passes=has_static_passes, has_buckets=has_buckets)


@pytest.fixture(
    scope="module", params=[(False, False), (True, False), (True, True)], ids=["eager", "static", "buckets"]
)
def one_model(request: pytest.FixtureRequest, tiny_llm: str) -> PassageLLM:
    has_static_passes, has_buckets = request.param
    return passage_llm(tiny_llm, 7, has_static_passes=has_static_passes, has_buckets=has_buckets)


def passages(model: PassageLLM, rows: int, count: int, seed: int) -> torch.Tensor:
    """(rows, count, dimension) projected random passages."""
    random = torch.Generator().manual_seed(seed)
    vectors = torch.randn(rows * count, ENCODER_DIMENSION, generator=random)
    return model.project(vectors / vectors.norm(dim=1, keepdim=True)).view(rows, count, -1)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    count=st.integers(2, 20),
    queries=st.lists(st.text("abc deé", max_size=40), min_size=1, max_size=4),
    share=st.floats(0, 1),
    draft=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_fast_places_are_the_plain_ones(
    model: PassageLLM, count: int, queries: list[str], share: float, draft: bool, seed: int
) -> None:
    projected = passages(model, len(queries), count, seed)
    prompts = [model.writer.write(query, count) for query in queries]
    depth = max(1, round(share * (count - 1)))
    decoder = WindowDecoder(model)
    for _ in range(2):  # the second time the prompts' start is there already
        batch = decoder.prefill(prompts, projected)
        places = draft_and_verify(decoder, batch, depth) if draft else decoder.steps(batch, depth)
        for row, prompt in enumerate(prompts):
            assert places[row].tolist() == plain_order(model, prompt, projected[row], depth)[:depth]
        assert batch.passes <= depth


@pytest.mark.parametrize("rows", [1, 2])
def test_what_a_memory_holds_changes_passes_and_no_place(one_model: PassageLLM, rows: int) -> None:
    """A window ranked before is drafted right at once; a memory of noise costs passes only."""
    prompts = [one_model.writer.write("bees" * (row + 1), 9) for row in range(rows)]
    projected = passages(one_model, rows, 9, 4)
    plain = [plain_order(one_model, prompts[row], projected[row])[:8] for row in range(rows)]
    decoder, memory = WindowDecoder(one_model), DraftMemory(rows, 12, one_model.device)
    shown = torch.arange(12).flip(0)[:9].repeat(rows, 1)
    for expected_passes in (None, 2):  # prefill and one that verifies
        batch = decoder.prefill(prompts, projected)
        assert draft_and_verify(decoder, batch, 8, memory, shown).tolist() == plain
        assert expected_passes in (None, batch.passes)
    with torch.inference_mode():
        memory.keep(shown, torch.randn(rows, 9, one_model.dimension))
    batch = decoder.prefill(prompts, projected)
    assert draft_and_verify(decoder, batch, 8, memory, shown).tolist() == plain


def test_eager_attention_gives_the_same_places(tiny_llm: str, one_model: PassageLLM) -> None:
    eager = passage_llm(tiny_llm, 7, "eager")
    prompts = [eager.writer.write(query, 9) for query in ("bees", "how old is the lighthouse")]
    projected = passages(eager, 2, 9, 3)
    decoder = WindowDecoder(eager)
    places = draft_and_verify(decoder, decoder.prefill(prompts, projected), 8)
    for row, prompt in enumerate(prompts):
        assert places[row].tolist() == plain_order(one_model, prompt, projected[row])[:8]


def test_equal_texts_share_their_score_and_keep_their_order(one_model: PassageLLM) -> None:
    with torch.inference_mode(False):
        projected = passages(one_model, 1, 6, 0).clone()
    projected[0, 4] = projected[0, 1]
    same = torch.tensor([[0, 1, 2, 3, 1, 5]])
    prompt = one_model.writer.write("bees", 6)
    decoder = WindowDecoder(one_model)
    plain = plain_order(one_model, prompt, projected[0], canonical=same[0].tolist())
    assert plain.index(1) < plain.index(4)
    assert decoder.steps(decoder.prefill([prompt], projected, same), 5)[0].tolist() == plain[:5]
    assert draft_and_verify(decoder, decoder.prefill([prompt], projected, same), 5)[0].tolist() == plain[:5]


def test_single_steps_take_one_pass_a_place_prefill_included(one_model: PassageLLM) -> None:
    decoder = WindowDecoder(one_model)
    batch = decoder.prefill([one_model.writer.write("bees", 8)], passages(one_model, 1, 8, 0))
    decoder.steps(batch, 7)
    assert batch.passes == 7  # the eighth place is what is left


def test_the_start_of_a_prompt_is_run_once(one_model: PassageLLM) -> None:
    decoder, projected = WindowDecoder(one_model), passages(one_model, 2, 5, 0)
    first, second = (one_model.writer.write(query, 5) for query in ("bees", "beetles and foxes"))
    assert decoder.prefill([first], projected[:1]).kept_tokens == [0]
    again = decoder.prefill([first], projected[1:])
    assert again.kept_tokens == [first.placeholders[0]]
    assert again.run_tokens == [len(first.token_ids) - first.placeholders[0]]
    other = decoder.prefill([second], projected[:1])
    assert 0 < other.kept_tokens[0] < second.placeholders[0]
    assert second.token_ids[: other.kept_tokens[0]] == first.token_ids[: other.kept_tokens[0]]


def test_what_rows_share_is_run_once_and_paid_for_by_the_first(one_model: PassageLLM) -> None:
    decoder, projected = WindowDecoder(one_model), passages(one_model, 3, 5, 0)
    prompts = [one_model.writer.write(query, 5) for query in ("bees", "beetles and foxes", "ants")]
    batch = decoder.prefill(prompts, projected)
    shared = batch.kept_tokens[1]
    assert batch.kept_tokens == [0, shared, shared]
    assert shared > 10
    assert decoder.prefill(prompts[:2], projected[:2]).kept_tokens[0] >= shared  # of a larger batch


@pytest.mark.parametrize("tokens", [1, 1024])
def test_batches_of_any_size_may_follow_each_other_and_run_in_parts(
    one_model: PassageLLM, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    monkeypatch.setattr(decoding, "_CPU_TOKENS", tokens)
    decoder = WindowDecoder(one_model)
    queries = ["bees", "how old is the lighthouse", "", "foxes and beetles"]
    for rows, count in ((3, 6), (1, 6), (4, 9), (2, 9), (4, 4)):
        projected = passages(one_model, rows, count, rows)
        prompts = [one_model.writer.write(query, count) for query in queries[:rows]]
        places = draft_and_verify(decoder, decoder.prefill(prompts, projected), count - 1)
        for row, prompt in enumerate(prompts):
            assert places[row].tolist() == plain_order(one_model, prompt, projected[row])[: count - 1]


def test_a_pass_that_failed_leaves_nothing_behind(
    one_model: PassageLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = WindowDecoder(one_model)
    prompts = [one_model.writer.write(query, 6) for query in ("bees", "foxes", "old ants")]
    projected = passages(one_model, 3, 6, 1)
    decoder.prefill(prompts, projected)
    for failing in (1, 2):  # the pass of what rows share, then that of the rows
        calls = iter(range(failing + 1, 0, -1))

        def forward(*inputs: Any, calls: Iterator[int] = calls) -> torch.Tensor:
            if next(calls) <= 2:
                raise RuntimeError("out of memory")
            return PassageLLM.forward(one_model, *inputs)

        decoder.prefix.clear()
        with monkeypatch.context() as patch:
            patch.setattr(one_model, "forward", forward)
            with pytest.raises(RuntimeError):
                decoder.prefill(prompts, projected)
        for rows in (1, 3):
            places = decoder.steps(decoder.prefill(prompts[:rows], projected[:rows]), 5)
            for row in range(rows):
                assert places[row].tolist() == plain_order(one_model, prompts[row], projected[row])[:5]


def test_what_the_prefix_claims_is_in_the_cache(tiny_llm: str) -> None:
    one_model = passage_llm(tiny_llm, 7)
    prompts = [one_model.writer.write(query, 5) for query in ("bees", "beetles and foxes", "ants")]
    projected = passages(one_model, 3, 5, 0)
    decoder = WindowDecoder(one_model)
    for rows in ([0], [0, 1, 2], [1, 2], [1, 2], [2], [2, 0]):
        row_prompts = [prompts[row] for row in rows]
        decoder.steps(decoder.prefill(row_prompts, projected[rows]), 4)
        fresh = WindowDecoder(one_model, reuse_prefix=False)
        fresh.prefill(row_prompts, projected[rows])
        assert decoder.prefix.ids.tolist() == fresh.prefix.ids.tolist()
        columns = decoder.prefix.ids.shape[1]
        assert isinstance(decoder.cache, WindowCache)
        assert isinstance(fresh.cache, WindowCache)
        is_real = torch.from_numpy(decoder.prefix.ids != PADDING)
        for layer, expected in zip(decoder.cache.layers, fresh.cache.layers, strict=True):
            for side in ("keys", "values"):
                cached, right = (
                    getattr(layer_cache, side)[:, :, :columns] for layer_cache in (layer, expected)
                )
                torch.testing.assert_close(cached.transpose(1, 2)[is_real], right.transpose(1, 2)[is_real])


def test_memory_is_kept_for_one_batch_whatever_the_number_of_queries(one_model: PassageLLM) -> None:
    decoder, projected = WindowDecoder(one_model), passages(one_model, 1, 5, 0)
    sizes = set()
    for query in range(20):
        batch = decoder.prefill([one_model.writer.write(f"query {query}", 5)], projected)
        decoder.steps(batch, 4)
        sizes.add(decoder.cache.nbytes())
    assert len(sizes) == 1


class _NoReadsByOperators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        waits = func.overloadpacket in (
            aten._local_scalar_dense,
            aten.nonzero,
            aten.masked_select,
            aten.equal,
        )
        if func.overloadpacket in (aten.index, aten.index_put, aten.index_put_):
            waits = any(index is not None and index.dtype == torch.bool for index in args[1])
        assert not waits, f"{func} makes the host wait"
        return func(*args, **(kwargs or {}))


class _NoReadsByMethods(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        reads = ("item", "tolist", "numpy", "cpu", "__bool__", "__int__", "__float__", "__index__", "nonzero")
        assert getattr(func, "__name__", "") not in reads, f"{func} makes the host wait"
        return func(*args, **(kwargs or {}))


@contextmanager
def no_host_reads() -> Iterator[None]:
    """Fail where the host would have to wait for the device; on a CPU, which is its own host, as well."""
    with _NoReadsByOperators(), _NoReadsByMethods():  # type: ignore[no-untyped-call]
        yield


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.item(),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.numpy(),
        bool,
        int,
        lambda x: x[x > 0],
        lambda x: torch.nonzero(x),
        lambda x: torch.equal(x, x),
    ],
    ids=["item", "tolist", "cpu", "numpy", "bool", "int", "mask", "nonzero", "equal"],
)
def test_the_guard_notices_a_read(read: Callable[[torch.Tensor], object]) -> None:
    with pytest.raises(AssertionError, match="makes the host wait"), no_host_reads():
        read(torch.ones(1))


@pytest.mark.parametrize("rows", [1, 3])
def test_single_steps_never_wait_for_the_device(one_model: PassageLLM, rows: int) -> None:
    prompts = [one_model.writer.write("x" * row, 9) for row in range(rows)]
    decoder = WindowDecoder(one_model)
    batch = decoder.prefill(prompts, passages(one_model, rows, 9, 0))
    with no_host_reads():
        decoder.steps(batch, 8)


@pytest.mark.parametrize("rows", [1, 3])
def test_drafting_waits_once_a_pass_and_nowhere_else(
    one_model: PassageLLM, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []

    def counted(tensor: torch.Tensor) -> list[int]:
        reads.append(tensor.numel())
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            return read_back(tensor)

    monkeypatch.setattr(drafting, "read_back", counted)
    prompts = [one_model.writer.write("x" * row, 9) for row in range(rows)]
    decoder = WindowDecoder(one_model)
    batch = decoder.prefill(prompts, passages(one_model, rows, 9, 0))
    with no_host_reads():
        draft_and_verify(decoder, batch, 8)
    assert reads == [1] * (batch.passes - 1)


def test_drafting_is_chosen_where_it_pays() -> None:
    on_cpu, on_gpu = (free_tokens_of(torch.device(kind)) for kind in ("cpu", "cuda"))
    cpu = DraftPolicy("auto", on_cpu)
    assert cpu.drafts(rows=1, depth=10)
    assert not cpu.drafts(rows=16, depth=10)  # arithmetic, not reading weights, is the limit there
    assert DraftPolicy("auto", on_gpu).drafts(rows=16, depth=10)
    for _ in range(5):
        cpu.learn(depth=10, passes=9)  # every draft but its first place was wrong
    assert not cpu.drafts(rows=1, depth=10)
    assert not DraftPolicy("off", on_cpu).drafts(rows=1, depth=10)
    assert DraftPolicy("on", on_cpu).drafts(rows=16, depth=10)


def test_windows_of_one_query_are_drafted_ahead_where_tokens_are_free() -> None:
    on_cpu, on_gpu = (free_tokens_of(torch.device(kind)) for kind in ("cpu", "cuda"))
    assert DraftPolicy("auto", on_gpu).looks_ahead(queries=1)
    assert not DraftPolicy("auto", on_gpu).looks_ahead(queries=2)
    assert not DraftPolicy("off", on_gpu).looks_ahead(queries=1)
    assert not DraftPolicy("on", on_cpu).looks_ahead(queries=1)


def test_half_precision_agrees_but_for_near_ties(tiny_llm: str) -> None:
    """In bfloat16 kernels round by shape; answers are the same where scores differ by more than that."""
    base = CausalLM(tiny_llm, dtype="bfloat16", device="cpu")
    projector = untrained_projector(ENCODER_DIMENSION, base.model.get_input_embeddings().weight.float(), 3)
    model = PassageLLM(base.model, projector, PromptWriter(base.tokenizer, PromptTemplate()))
    decoder = WindowDecoder(model)
    for seed in range(5):
        projected = passages(model, 1, 8, seed)
        prompt = model.writer.write(f"query {seed}", 8)
        batch = decoder.prefill([prompt], projected)
        scores = batch.scores(batch.hidden[:, None])[0, 0]
        best, second = scores.topk(2).values
        if best - second > 0.1:
            assert draft_and_verify(decoder, batch, 7)[0, 0] == plain_order(model, prompt, projected[0])[0]
