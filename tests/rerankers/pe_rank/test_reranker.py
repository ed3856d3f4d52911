"""Every option that promises speed gives the answers of the plain way, and says what it did."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from rerankers import StageClock, create
from rerankers.errors import InputError, ModelError, UnknownNameError
from rerankers.listwise.windows import initial_order
from rerankers.methods.pe_rank import PERankOptions
from rerankers.pe_rank.reranker import PERank

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers import Ranking, RerankRequest

WINDOWS: dict[str, Any] = {"window": 5, "step": 2}
WORDS = ["glacier", "moves", "hive", "library", "frost", "maple", "reef", "night", "train", "sand", "bees"]


@pytest.fixture(scope="module")
def model(golden: Path) -> str:
    return str(golden / "pe_rank" / "mistral")


@pytest.fixture(scope="module")
def requests(make_request: Callable[..., RerankRequest]) -> list[RerankRequest]:
    """Return queries with 11, 11, 11, 5 and 2 passages; one passage is there twice."""
    shuffle = random.Random(1)
    built = []
    for number, count in enumerate([11, 11, 11, 5, 2]):
        texts = [" ".join(shuffle.choices(WORDS, k=6)) for _ in range(count)]
        if number == 1:
            texts[7] = texts[2]
        built.append(
            make_request(" ".join(shuffle.choices(WORDS, k=3 + number)), texts, query_id=f"q{number}")
        )
    return built


def ranked(model: str, requests: list[RerankRequest], **options: Any) -> list[Ranking]:
    seconds = iter(range(10**9))
    clock = StageClock(now=lambda: float(next(seconds)))
    settings = {"model": model, "window": 5, "step": 2, "dtype": "float32", "device": "cpu", **options}
    return create("pe-rank", settings).rerank(requests, clock)


@pytest.fixture(scope="module")
def plain(model: str, requests: list[RerankRequest]) -> list[tuple[str, ...]]:
    return [ranking.doc_ids for ranking in ranked(model, requests, exact=True)]


@pytest.mark.parametrize(
    "options",
    [
        {"draft": "on"},
        {"draft": "off"},
        {"batch_size": 1},
        {"batch_size": 2, "draft": "on"},
        {"embeddings": "per_window"},
        {"attention": "eager"},
        {"forward_passes": "eager"},
        {"forward_passes": "static", "batch_size": 2},
        {"forward_passes": "graphs"},
        {"free_tokens": 64, "batch_size": 1},
        {"free_tokens": 256, "batch_size": 1, "attention": "eager"},
        {"free_tokens": 256, "batch_size": 2},
    ],
    ids=str,
)
def test_the_fast_way_gives_the_plain_answers(
    model: str, requests: list[RerankRequest], plain: list[tuple[str, ...]], options: dict[str, Any]
) -> None:
    assert [ranking.doc_ids for ranking in ranked(model, requests, **options)] == plain


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({}, "static"),
        ({"forward_passes": "eager"}, "eager"),
        ({"exact": True}, "eager"),
        ({"forward_passes": "compiled"}, "compiled"),
        ({"forward_passes": "graphs"}, "static: CUDA graphs need a GPU, and the device is cpu"),
        ({"attention": "eager"}, "eager: attention is eager, and static passes use sdpa"),
    ],
    ids=str,
)
def test_the_record_says_which_passes_ran(model: str, options: dict[str, Any], passes: str) -> None:
    reranker = create("pe-rank", {"model": model, "device": "cpu", **options})
    assert reranker.describe()["forward_passes"] == passes


def test_static_passes_are_refused_where_a_model_has_none(model: str) -> None:
    settings = {"model": model, "device": "cpu", "forward_passes": "static"}
    with pytest.raises(ModelError, match=r"no static passes: attention is eager.*forward_passes: auto"):
        create("pe-rank", {**settings, "attention": "eager"})
    for passes in ("static", "graphs", "compiled"):
        with pytest.raises(InputError, match=rf"exact.*passes: {passes}"):
            create("pe-rank", {**settings, "forward_passes": passes, "exact": True})


def test_usage_counts_passes_that_were_met_after_the_warm_up(
    model: str, requests: list[RerankRequest], clock: StageClock
) -> None:
    settings = {"model": model, "dtype": "float32", "device": "cpu", "forward_passes": "compiled"}
    reranker = create("pe-rank", settings)
    reranker.end_warm_up()
    usage = reranker.rerank(requests[:1], clock)[0].usage
    assert usage.captured_passes == 0
    assert usage.uncaptured_passes == usage.windows + usage.decode_steps


@pytest.mark.parametrize("top_k", [1, 3, 7])
@pytest.mark.parametrize("exact", [False, True])
def test_the_top_k_is_that_of_full_decoding(
    model: str, requests: list[RerankRequest], plain: list[tuple[str, ...]], top_k: int, exact: bool
) -> None:
    rankings = ranked(model, requests, top_k=top_k, exact=exact)
    assert [ranking.doc_ids[:top_k] for ranking in rankings] == [order[:top_k] for order in plain]


@pytest.mark.parametrize("threads", [2, 3])
def test_queries_side_by_side_get_the_same_answers(
    model: str, requests: list[RerankRequest], plain: list[tuple[str, ...]], threads: int
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert [ranking.doc_ids for ranking in ranked(model, requests)] == plain
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_the_depth_of_each_window_is_recorded(model: str, requests: list[RerankRequest]) -> None:
    assert ranked(model, requests, top_k=3)[0].usage.depths == [3, 3, 3, 3]  # windows 6-10, 4-8, 2-6, 0-4


def test_a_full_window_ranks_all_candidates_in_one_pass(model: str, requests: list[RerankRequest]) -> None:
    fast, exact = (ranked(model, requests, window=0, exact=exact) for exact in (False, True))
    assert [ranking.doc_ids for ranking in fast] == [ranking.doc_ids for ranking in exact]
    assert [ranking.usage.windows for ranking in fast] == [1] * 5


def test_text_in_the_prompt_changes_with_the_order_of_the_window(
    model: str, requests: list[RerankRequest]
) -> None:
    fast, exact = (ranked(model, requests, text=True, exact=exact) for exact in (False, True))
    assert [ranking.doc_ids for ranking in fast] == [ranking.doc_ids for ranking in exact]


def test_stored_embeddings_give_the_same_answers_and_are_made_once(
    model: str, requests: list[RerankRequest], plain: list[tuple[str, ...]], tmp_path: Path
) -> None:
    first = ranked(model, requests, embeddings="precomputed", store=tmp_path)
    again = ranked(model, requests, embeddings="precomputed", store=tmp_path)
    assert [ranking.doc_ids for ranking in first] == [ranking.doc_ids for ranking in again] == plain
    assert sum(ranking.usage.passages_embedded for ranking in first) == 11 + 10 + 11 + 5 + 2
    assert sum(ranking.usage.passages_embedded for ranking in again) == 0
    assert sum(ranking.usage.passages_from_store for ranking in again) == 11 + 10 + 11 + 5 + 2


def test_preparing_fills_the_store(model: str, requests: list[RerankRequest], tmp_path: Path) -> None:
    reranker = PERank(PERankOptions(model=model, embeddings="precomputed", store=tmp_path, **WINDOWS))
    reranker.prepare(requests)
    rankings = reranker.rerank(requests, StageClock())
    assert sum(ranking.usage.passages_embedded for ranking in rankings) == 0


@pytest.mark.parametrize(("mode", "embedded"), [("per_query", 11), ("per_window", 4 * 5)])
def test_the_cost_of_embedding_is_counted_as_it_is_paid(
    model: str, requests: list[RerankRequest], mode: str, embedded: int
) -> None:
    # 11 candidates, window 5, step 2: [6, 11) [4, 9) [2, 7) [0, 5), and no clipped one
    usage = ranked(model, requests[:1], embeddings=mode)[0].usage
    assert usage.windows == 4
    assert usage.passages_embedded == embedded


def test_passes_and_tokens_are_counted(model: str, requests: list[RerankRequest]) -> None:
    usage = ranked(model, requests[:1], draft="off", top_k=2)[0].usage
    assert usage.generated_tokens == 3 + 3 + 3 + 2  # window minus step, and the top two in the last one
    assert usage.decode_steps == 2 + 2 + 2 + 1  # the first place of a window comes from the prompt
    assert 0 < usage.cached_tokens < usage.prompt_tokens


def test_stages_explain_a_querys_time(model: str, requests: list[RerankRequest]) -> None:
    reranker, clock = PERank(PERankOptions(model=model, **WINDOWS)), StageClock()
    shares = []
    for _ in range(6):  # the first warms up, and a busy machine may take any one of them aside
        started = clock.now()
        stage_seconds = reranker.rerank(requests[:1], clock)[0].stage_seconds
        shares.append(sum(stage_seconds.values()) / (clock.now() - started))
        assert set(stage_seconds) == {"embed", "project", "prompt", "prefill", "decode", "order"}
    assert max(shares) >= 0.95  # 0.98 and more on a model of real size


def reordered(request: RerankRequest, order: list[int]) -> RerankRequest:
    return replace(request, candidates=tuple(request.candidates[i] for i in order))


def test_the_initial_order_is_that_of_a_list_so_ordered(model: str, requests: list[RerankRequest]) -> None:
    turned = [reordered(request, list(range(len(request.candidates)))[::-1]) for request in requests]
    expected = [ranking.doc_ids for ranking in ranked(model, turned)]
    assert [ranking.doc_ids for ranking in ranked(model, requests, initial_order="reversed")] == expected
    shuffled = [
        reordered(request, initial_order(len(request.candidates), "shuffled", 3, request.query_id))
        for request in requests
    ]
    expected = [ranking.doc_ids for ranking in ranked(model, shuffled)]
    again = ranked(model, requests, initial_order="shuffled", seed=3)
    assert [ranking.doc_ids for ranking in again] == expected


def test_passages_are_cut_after_so_many_tokens_of_the_encoder(
    model: str, requests: list[RerankRequest], tmp_path: Path
) -> None:
    request = replace(
        requests[0],
        candidates=tuple(
            candidate._replace(text=9 * f"{candidate.text} ") for candidate in requests[0].candidates
        ),
    )
    whole, short = (ranked(model, [request], max_length=length)[0] for length in (None, 8))
    assert (whole.usage.passages_truncated, short.usage.passages_truncated) == (0, 11)
    store = {"embeddings": "precomputed", "store": tmp_path}
    for length in (None, 8):  # other vectors, and therefore another store
        (ranking,) = ranked(model, [request], max_length=length, **store)
        assert ranking.usage.passages_embedded == 11


def test_a_step_that_does_not_fit_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(InputError, match="window 5 and step 6 do not fit"):
        create("pe-rank", {"model": "no/such-model", "window": 5, "step": 6})


def test_options_are_named_when_they_are_wrong(model: str) -> None:
    with pytest.raises(UnknownNameError, match="did you mean embeddings"):
        create("pe-rank", {"model": model, "embedding": "per_query"})
    with pytest.raises(InputError, match="'top_k' of pe-rank"):
        create("pe-rank", {"model": model, "top_k": 0})


def test_a_prompt_longer_than_the_context_says_what_to_do(
    model: str, make_request: Callable[..., RerankRequest]
) -> None:
    from rerankers.errors import ModelError

    request = make_request("bees", ["glacier moves slowly " * 90] * 30)
    with pytest.raises(ModelError, match="choose a smaller window or leave the passages' text out"):
        ranked(model, [request], window=30, text=True)


def test_placeholders_in_a_query_or_a_passage_are_harmless(
    model: str, make_request: Callable[..., RerankRequest]
) -> None:
    request = make_request("which <PLACEHOLDER> is it", ["a <PLACEHOLDER>", "b {query} {i}", "c [3]"])
    for text in (False, True):
        assert len(ranked(model, [request], text=text)[0].doc_ids) == 3
