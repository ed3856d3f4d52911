"""What only a GPU can show: the same answers there, no hidden wait, stages that end when the device has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from rerankers import StageClock
from rerankers.encoders.encoder import Encoder
from rerankers.interface import Cost
from rerankers.methods.pe_rank import PERankOptions
from rerankers.models.devices import synchroniser
from rerankers.pe_rank.decoding import WindowDecoder
from rerankers.pe_rank.look_ahead.sliding_query import SlidingQuery, SlidingWindow
from rerankers.pe_rank.look_ahead.token_tree import TokenTree
from rerankers.pe_rank.reranker import PERank
from rerankers.pe_rank.speculative import draft_and_verify
from rerankers.registry import create
from rerankers.training.run import train
from rerankers.training.settings import RankSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rerankers import RerankRequest

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

MISTRAL = Path(__file__).parents[1] / "golden" / "pe_rank" / "mistral"
JINA = Path(__file__).parents[1] / "golden" / "jina_bert"
CASES: list[dict[str, Any]] = json.loads((MISTRAL / "golden.json").read_text())["cases"]


def pe_rank(**options: Any) -> PERank:
    return PERank(PERankOptions(model=str(MISTRAL), device="cuda", **{"dtype": "float32", **options}))


@pytest.fixture
def waits_are_errors() -> Iterator[None]:
    """CUDA itself refuses every wait of the host that does not say so by an event."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(
    "options",
    [
        {"forward_passes": "graphs"},
        {"forward_passes": "static"},
        {"forward_passes": "eager"},
        {"exact": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("text", [False, True], ids=["embeddings", "with-text"])
def test_float32_gives_the_reference_permutations(
    make_request: Callable[..., RerankRequest], clock: StageClock, text: bool, options: dict[str, Any]
) -> None:
    reranker = pe_rank(text=text, **options)
    for case in CASES:
        if (case["kind"] == "window_with_text") == text:
            [ranking] = reranker.rerank([make_request(case["query"], case["passages"])], clock)
            assert ranking.doc_ids == tuple(f"d{i}" for i in case["permutation"])


def test_passes_are_captured_at_warm_up_and_replayed_afterwards(
    make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    reranker = pe_rank()
    request = make_request(CASES[0]["query"], CASES[0]["passages"])
    [first] = reranker.rerank([request], clock)
    reranker.end_warm_up()
    [again] = reranker.rerank([request], clock)
    assert reranker.describe()["forward_passes"] == "graphs"
    assert again.doc_ids == first.doc_ids
    assert again.usage.captured_passes >= again.usage.decode_steps > 0


@pytest.mark.parametrize("draft", ["on", "off"])
def test_queries_in_a_batch_rank_as_one_by_one(
    make_request: Callable[..., RerankRequest], clock: StageClock, draft: str
) -> None:
    reranker = pe_rank(draft=draft)
    [hundred] = [case["passages"] for case in CASES if len(case["passages"]) == 100]
    requests = [make_request(f"{case['query']} {'x ' * n}", hundred) for n, case in enumerate(CASES[:6])]
    alone = [reranker.rerank([request], clock)[0].doc_ids for request in requests]
    assert [ranking.doc_ids for ranking in reranker.rerank(requests, clock)] == alone


def test_jina_vectors_are_the_reference_implementations() -> None:
    reference = json.loads((JINA / "golden.json").read_text())
    encoder = Encoder(str(JINA), dtype="float32", device="cuda", max_length=reference["max_length"])
    vectors = encoder.encode(reference["texts"]).cpu()
    assert (vectors - torch.tensor(reference["embeddings"])).abs().max() < 1e-5


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("drafts", [False, True], ids=["steps", "drafts"])
@pytest.mark.parametrize("passes", ["graphs", "static", "eager"])
def test_decoding_never_waits_for_the_device_unsaid(
    request: pytest.FixtureRequest, rows: int, drafts: bool, passes: str
) -> None:
    reranker = pe_rank(forward_passes=passes)
    decoder, model = WindowDecoder(reranker._llm), reranker._llm
    vectors = torch.randn(rows * 9, reranker._encoder.dimension, device="cuda")
    projected = model.project(torch.nn.functional.normalize(vectors, dim=1)).view(rows, 9, -1)
    batch = decoder.prefill([model.writer.write("x" * row, 9) for row in range(rows)], projected)
    reranker.end_warm_up()  # drafts of these rows are captured with the prompts
    request.getfixturevalue("waits_are_errors")
    if drafts:
        draft_and_verify(decoder, batch, 8)
    else:
        decoder.steps(batch, 8)


def test_look_ahead_waits_once_a_pass_and_nowhere_else(request: pytest.FixtureRequest) -> None:
    reranker = pe_rank()
    model = reranker._llm
    vectors = torch.randn(30, reranker._encoder.dimension, device="cuda")
    projected = model.project(torch.nn.functional.normalize(vectors, dim=1))
    windows = [SlidingWindow(20, 30, 5), SlidingWindow(15, 25, 5), SlidingWindow(10, 20, 5)]
    tree = TokenTree(model)
    request.getfixturevalue("waits_are_errors")
    query = SlidingQuery(
        tree, windows, lambda count: model.writer.write("bees", count), projected, None, free_tokens=256
    )
    while not query.is_over:
        query.run_pass()


def test_the_guard_notices_a_wait(waits_are_errors: None) -> None:
    with pytest.raises(RuntimeError, match="synchroniz"):
        torch.ones(1, device="cuda").item()


def test_a_stage_ends_when_the_device_has() -> None:
    clock, cost = StageClock(synchronise=synchroniser("cuda")), Cost()
    square = torch.randn(4096, 4096, device="cuda")
    started, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    with clock.stage("forward", cost):
        started.record()
        for _ in range(50):
            square @ square
        ended.record()
    assert torch.cuda.current_stream().query()  # nothing is left to do
    assert cost.stage_seconds["forward"] >= started.elapsed_time(ended) / 1000


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cross-encoder", ("tiny_classifier", {})),
        ("embedding", ("tiny_encoder", {})),
        ("query-likelihood", ("tiny_llm", {})),
        ("causal-yes-no", ("tiny_llm", {"prompt": "chat"})),
        ("mono-t5", ("tiny_t5", {})),
        ("first", ("tiny_llm", {})),
        ("pairwise", ("tiny_llm", {"backend": "transformers"})),
        ("rankgpt", ("tiny_llm", {"backend": "transformers"})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_rerankers_give_the_cpus_ranking_in_float32(
    request: pytest.FixtureRequest,
    make_request: Callable[..., RerankRequest],
    clock: StageClock,
    name: str,
    options: tuple[str, dict[str, Any]],
) -> None:
    model, more = request.getfixturevalue(options[0]), options[1]
    texts = [f"{word} in the lighthouse" for word in ("bees", "old foxes", "yeast", "the salt of dough")]
    requests = [make_request("how old is the lighthouse", texts)]
    rankings = []
    for device in ("cpu", "cuda"):
        reranker = create(name, {"model": model, "device": device, "dtype": "float32", **more})
        rankings.append(reranker.rerank(requests, clock)[0])
    assert rankings[0].doc_ids == rankings[1].doc_ids


def test_training_learns_what_it_learns_on_a_cpu(tiny_llm: str, tiny_encoder: str, tmp_path: Path) -> None:
    lists = tmp_path / "lists.jsonl"
    texts = [f"passage {word}" for word in ("one", "two", "three", "four", "five")]
    rows = [
        {"query": f"query {n}", "passages": texts, "ranking": [(n + i) % 5 for i in range(5)]}
        for n in range(8)
    ]
    lists.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    losses = {}
    for device, bf16 in (("cpu", False), ("cuda", False), ("cuda", True)):
        settings = RankSettings.model_validate(
            {
                "llm": {"model": tiny_llm, "dtype": "float32"},
                "encoder": {"model": tiny_encoder, "dtype": "float32"},
                "data": {"train": str(lists)},
                "tune": "lora",
                "loss": {"first_step": {"weight": 0.3}},
                "optimizer": {"learning_rate": 1e-3, "batch_size": 4, "max_steps": 6, "bf16": bf16},
                "log_every": 1,
            }
        )
        folder = tmp_path / f"{device}-{bf16}"
        train("rank", settings, folder, lambda _: None, use_cpu=device == "cpu")
        log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        losses[device, bf16] = [line["loss"] for line in log if "loss" in line]
    assert losses["cuda", False] == pytest.approx(losses["cpu", False], rel=1e-3)
    assert losses["cuda", True] == pytest.approx(losses["cpu", False], rel=0.05)
