"""The steps of the GPU check, the most valuable first; each returns its results for `check.json`."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.gpu_check.device import bandwidth_bytes_per_second, passes, stage_cost
from benchmarks.results.store import read_results
from benchmarks.surface import run_experiment
from rerankers.registry import create

if TYPE_CHECKING:
    from benchmarks.gpu_check.shapes import Models

GPU_TESTS = ("tests/rerankers/test_cuda.py", "tests/benchmarks/measuring/test_gpu.py")
COPY_BYTES = {"cuda": 1 << 32, "cpu": 1 << 26}


@dataclass(frozen=True, slots=True)
class Check:
    """The inputs that all steps share.

    Attributes:
        folder: where results go; each experiment has a result folder in it that `rerankbench report` reads.
        models: random checkpoints.
        device: `cuda` or `cpu`.
        dtype: type of the language model's weights.
        queries: queries a step.
        depths: candidates a query, the small depth first.
    """

    folder: Path
    models: Models
    device: str
    dtype: str
    queries: int
    depths: tuple[int, int]


def gpu_tests(check: Check) -> dict[str, Any]:
    """Run the tests that need a GPU, from a checkout, and return pytest's exit status and last line."""
    files = [name for name in GPU_TESTS if Path(name).exists()]
    if not files:
        return {"skipped": "not in a checkout"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    return {"exit_status": ended.returncode, "summary": ended.stdout.strip().splitlines()[-1:]}


def latency(check: Check) -> dict[str, Any]:
    """Measure one query at a time: PE-Rank, its published way of working, and text in the same windows.

    Return the median seconds of each system at each depth.
    """
    language_model = _options(check, model=str(check.models.llm))
    systems = [
        {"name": "pe-rank", "label": "PE-Rank", "options": _pe_rank(check)},
        {
            "name": "pe-rank",
            "label": "PE-Rank, stored embeddings",
            "options": _pe_rank(check, embeddings="precomputed", store=str(check.folder / "store")),
        },
        {
            "name": "pe-rank",
            "label": "PE-Rank, uncaptured passes",
            "options": _pe_rank(check, forward_passes="static"),
        },
        {
            "name": "pe-rank",
            "label": "PE-Rank, transformers' passes",
            "options": _pe_rank(check, forward_passes="eager"),
        },
        {"name": "pe-rank", "label": "PE-Rank, one rank a pass", "options": _pe_rank(check, draft="off")},
        {
            "name": "benchmarks.gpu_check.published:PublishedPERank",
            "label": "PE-Rank, published way",
            "options": _pe_rank(check, forward_passes="eager"),
        },
        {
            "name": "rankgpt",
            "label": "Text prompt",
            "options": {**language_model, "backend": "transformers", "passage_words": 100, "concurrency": 1},
        },
    ]
    return _measure(check, "latency", systems, {"warmup": 1}, list(check.depths))


def throughput(check: Check) -> dict[str, Any]:
    """Measure PE-Rank on queries in batches of 4 and 16, with embeddings computed and stored.

    Return the median seconds per query of each system.
    """
    systems = [
        {
            "name": "pe-rank",
            "label": f"PE-Rank, {embeddings}, batches of {size}",
            "options": _pe_rank(
                check, embeddings=embeddings, batch_size=size, store=str(check.folder / "store")
            ),
        }
        for embeddings in ("per_query", "precomputed")
        for size in (4, 16)
    ]
    protocol = {"warmup": 16, "mode": "throughput", "batch_size": 16}  # passes of all rows are captured
    return _measure(check, "throughput", systems, protocol, [check.depths[1]])


def pointwise(check: Check) -> dict[str, Any]:
    """Measure an embedding model, a cross-encoder and a language model, one query at a time.

    Return the median seconds of each.
    """
    systems = [
        {"name": "embedding", "options": _options(check, model=str(check.models.encoder), pooling="cls")},
        {"name": "cross-encoder", "options": _options(check, model=str(check.models.cross_encoder))},
        {
            "name": "causal-yes-no",
            "options": _options(check, model=str(check.models.llm), prompt="bge_gemma"),
        },
    ]
    return _measure(check, "pointwise", systems, {"warmup": 1}, [check.depths[1]])


def limits(check: Check) -> dict[str, Any]:
    """Compare PE-Rank's passes with the device's bandwidth, and time the stage clock.

    Returns:
        the bandwidth, the stage clock's cost, and for passes captured as graphs, static and transformers' own
        the counts of `passes`.
    """
    import torch

    bandwidth = bandwidth_bytes_per_second(check.device, COPY_BYTES[torch.device(check.device).type])
    return {
        "bandwidth_bytes_per_second": bandwidth,
        **{mode: _passes(check, mode, check.depths[1], bandwidth) for mode in ("graphs", "static", "eager")},
        "stage_clock": stage_cost(check.device),
    }


def compiled(check: Check) -> dict[str, Any]:
    """Compare PE-Rank's compiled passes with the device's bandwidth, at the small depth.

    It comes last: a language model of 32 layers takes minutes to compile.

    Returns:
        the counts of `passes`.
    """
    import torch

    bandwidth = bandwidth_bytes_per_second(check.device, COPY_BYTES[torch.device(check.device).type])
    return _passes(check, "compiled", check.depths[0], bandwidth)


STEPS = (gpu_tests, latency, limits, throughput, pointwise, compiled)


def _passes(check: Check, mode: str, depth: int, bandwidth: float) -> dict[str, Any]:
    """Load PE-Rank, warm it up on two queries, and return the counts of `passes` for the third one.

    Args:
        check: the shared inputs.
        mode: the option `passes`.
        depth: candidates a query.
        bandwidth: bytes per second that the device can read and write.

    Returns:
        also which passes ran, as the record has it, and the seconds of the warm-up.
    """
    reranker = create("pe-rank", _pe_rank(check, forward_passes=mode))
    *first, request = _requests(check.folder / "candidates.jsonl", depth)[:3]
    started = time.perf_counter()
    for each in first:
        reranker.rerank([each], _clock())
    warm_up_seconds = time.perf_counter() - started
    reranker.end_warm_up()
    counts = passes(reranker, request, _layer_bytes(check.models.llm), bandwidth)
    return {**counts, "ran": reranker.describe()["forward_passes"], "warm_up_seconds": warm_up_seconds}


def _clock() -> Any:
    """Return a new stage clock."""
    from rerankers import StageClock

    return StageClock()


def _requests(path: Path, depth: int) -> list[Any]:
    """Read a file of candidates into requests, each with its first `depth` candidates."""
    from benchmarks.candidates.file import read_candidates
    from rerankers import Candidate, RerankRequest

    queries, passages, hits, _ = read_candidates(path)
    return [
        RerankRequest(
            query_id,
            query,
            tuple(
                Candidate(query_id, doc_id, passages[doc_id], score)
                for doc_id, score in hits[query_id][:depth]
            ),
        )
        for query_id, query in queries.items()
    ]


def _layer_bytes(folder: Path) -> int:
    """Return the bytes of the layers' weights in a checkpoint folder, which every forward pass reads."""
    from safetensors import safe_open

    size = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a mapping
                if ".layers." in name:
                    weight = tensors.get_tensor(name)
                    size += weight.numel() * weight.element_size()
    return size


def _options(check: Check, **options: object) -> dict[str, object]:
    """Return options of a reranker: the check's device and dtype, and the given ones."""
    return {"device": check.device, "dtype": check.dtype, **options}


def _pe_rank(check: Check, **options: object) -> dict[str, object]:
    """Return options of PE-Rank with the check's random models, and the given ones."""
    models = check.models
    fixed = {
        "model": str(models.llm), "encoder": str(models.encoder), "projector": str(models.projector),
        "pooling": "mean",
    }  # fmt: skip
    return _options(check, **fixed, **options)


def _measure(
    check: Check, name: str, systems: list[dict[str, Any]], protocol: dict[str, Any], depths: list[int]
) -> dict[str, Any]:
    """Run an experiment on the check's candidates, and return its folder, its failures and each cell's times.

    Args:
        check: the shared inputs.
        name: name of the experiment and its folder.
        systems: rerankers as an experiment file lists them.
        protocol: the experiment's `protocol`.
        depths: candidates a query.

    Returns:
        by system and depth, the number of measured `queries` and their `median_seconds`.
    """
    from statistics import median

    outcome = run_experiment(
        {
            "name": f"gpu-check-{name}",
            "datasets": {
                "candidates": str(check.folder / "candidates.jsonl"),
                "qrels": str(check.folder / "qrels.txt"),
            },
            "first_stages": "given",
            "depths": depths,
            "limit": check.queries,
            "protocol": protocol,
            "rerankers": systems,
        },
        out=check.folder / name,
    )
    cells = {}
    for cell in read_results(outcome.folder).cells:
        seconds = [row.total_seconds for row in cell.rows]
        label = f"{cell.record.system.label}, top {cell.record.depth}"
        cells[label] = {"queries": len(seconds), "median_seconds": median(seconds)} if seconds else {}
    return {
        "folder": str(outcome.folder),
        "failures": {k: str(v) for k, v in outcome.failures.items()},
        **cells,
    }
