"""The layout `costs`: latency, work, cost, energy and memory of the rerankers of each group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.tables import grouped

if TYPE_CHECKING:
    from reports.analysis.values import Context
    from reports.tables.cells import Table

TIME = ("p99", "mean", "queued", "first_token", "inter_token")
CALLS = ("windows", "llm_calls", "sequential_calls", "calls_replayed", "calls_estimated", "retries")
TOKENS = ("prompt_tokens", "cached_tokens", "generated_tokens", "reasoning_tokens", "tokens_saved")
PASSAGES = ("passages_embedded", "passages_from_store", "passages_truncated", "control_tokens")
SPENT = ("dollars", "dollars_total", "joules", "flops", "bytes", "utilisation")
COLUMNS = (
    *(*TIME, *CALLS, *TOKENS, "decode_steps", *PASSAGES, "well_formed", "faulty", *SPENT),
    *("load", "device_memory", "host_memory", "noise", "load_average"),
)


def tables(context: Context) -> list[Table]:
    """Build one table per group, without groups in which nothing was measured."""
    return grouped.of_rerankers(context, "costs", COLUMNS, "Cost, energy and work per query")
