"""What benchmarks of models rank: a candidates file, or random words as long as MS MARCO's passages."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

from rerankers import Candidate, RerankRequest


def requests_of(queries: int, depth: int) -> list[RerankRequest]:
    """The first queries of the file that `RERANKBENCH_BENCH_CANDIDATES` names (JSON lines with `query` and
    `hits`, as `rerankbench rerank` takes it), or made ones: queries of 6 words, passages of 36, give or take.
    """
    path = os.environ.get("RERANKBENCH_BENCH_CANDIDATES")
    if path:
        read = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()[:queries]]
        pools = [(row["query"], [hit["content"] for hit in row["hits"]]) for row in read]
    else:
        draw = random.Random(0)  # noqa: S311 - no secret
        words = [f"word{number}" for number in range(2000)]
        pools = [
            (
                " ".join(draw.choices(words, k=6)),
                [" ".join(draw.choices(words, k=max(8, round(draw.gauss(36, 14))))) for _ in range(depth)],
            )
            for _ in range(queries)
        ]
    return [
        RerankRequest(
            f"q{number}",
            query,
            tuple(Candidate(f"q{number}", f"d{i}", text, -float(i)) for i, text in enumerate(texts[:depth])),
        )
        for number, (query, texts) in enumerate(pools)
    ]
