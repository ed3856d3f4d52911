"""The one list of figures that benchmarks promise, each with its target.

A benchmark records a figure by its name here:

    def test_it(benchmark, measured):
        ...
        measured("pe-rank/speedup", published_seconds / seconds)

To promise another figure, add a row and record it: nothing else. `recording` prints all rows beside what was
measured, and writes them as JSON. A figure is a ratio of two ways in one process wherever there is another
way to compare with, for ratios hardly depend on the machine. The others are seconds, milliseconds and
megabytes of the machine at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["at least", "at most"]


@dataclass(frozen=True)
class Target:
    """A figure that a benchmark promises.

    Attributes:
        name: `<part>/<figure>`, with its unit at the end unless the figure is a ratio.
        direction: on which side of `limit` a measured value has to be.
        limit: the promised value.
        meaning: one line for readers.
    """

    name: str
    direction: Direction
    limit: float
    meaning: str

    def is_met(self, value: float) -> bool:
        """Return whether a measured value is on the promised side of the limit, or on it."""
        return value >= self.limit if self.direction == "at least" else value <= self.limit


TARGETS = (
    # test_pe_rank
    Target("pe-rank/speedup", "at least", 3.5, "published code's seconds by ours, embeddings computed"),
    Target("pe-rank/speedup-stored", "at least", 4.5, "published code's seconds by ours, embeddings stored"),
    # test_pe_rank_passes
    Target("pe-rank/passes", "at most", 20, "forward passes of a query's top 100, drafted ahead as on a GPU"),
    # test_static_passes
    Target("pe-rank/host-time-one-token", "at least", 3, "transformers' CPU time of a pass by ours, 1 token"),
    Target("pe-rank/host-time-ten-tokens", "at least", 3, "the same for ten drafted ranks"),
    # test_causal_passes
    Target("chat/host-time-one-token", "at least", 2, "transformers' CPU time of a decoding step by ours"),
    Target("chat/host-time-eight-rows", "at least", 1.7, "the same for eight padded rows"),
    Target("causal-yes-no/host-time", "at least", 1.7, "the same for eight prompts behind a shared prefix"),
    # test_pointwise
    Target("cross-encoder/speedup-latency", "at least", 1.5, "CrossEncoder.predict's CPU seconds by ours"),
    Target("cross-encoder/speedup-throughput", "at least", 1.5, "the same, all queries in one call"),
    # test_listwise_embeddings, test_rank1
    Target("e2rank/speedup-stored", "at least", 2, "published code's CPU seconds by ours, top 100, stored"),
    Target("e2rank/speedup", "at least", 0.8, "the same, embeddings computed"),
    Target("jina-v3/speedup", "at least", 0.9, "published code's CPU seconds by ours, top 20 in one block"),
    Target("rank1/speedup", "at least", 1, "CPU seconds of one prompt at a time by those of a batch"),
    # test_fusion_in_decoder
    Target("lit5/speedup", "at least", 1.5, "published code's CPU seconds by ours, top 40, `top: 10`"),
    Target("listt5/speedup", "at least", 1.5, "published code's CPU seconds by ours, top 100, r = 2"),
    # test_chat_client
    Target("chat-client/speedup", "at least", 12, "43 queries, 16 at once, against one after another"),
    Target("chat-client/added-ms-per-call", "at most", 2, "beyond the endpoint's time, 16 queries at once"),
    Target(
        "chat-client/added-ms-per-call-alone", "at most", 2, "beyond the endpoint's time, one query at a time"
    ),
    Target("chat-client/cpu-ms-per-call", "at most", 2, "this process's CPU time, 16 queries at once"),
    # test_harness
    Target(
        "harness/overhead-ms-per-query", "at most", 0.1, "6,980 queries of 100 candidates, reranker left out"
    ),
    # test_report
    Target("report/cpu-seconds", "at most", 6.6, "`report` on 4 systems x 6,980 queries x 100 candidates"),
    Target("report/peak-mb", "at most", 400, "its peak resident memory"),
    Target(
        "report/peak-mb-30-systems",
        "at most",
        1000,
        "`report` on 30 systems x 6,980 queries x 100 candidates",
    ),
    # test_first_stages
    Target(
        "bm25/indexing-speed", "at least", 0.8, "IndexCollection's CPU seconds by ours, conversion included"
    ),
    # test_evaluation
    Target("evaluation/all-pairs-seconds", "at most", 5, "tests of all pairs of 30 systems on 6,980 queries"),
)
"""All promised figures, in the order in which a run prints them."""
BY_NAME = {target.name: target for target in TARGETS}
