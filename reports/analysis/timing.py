"""Latency and work of one system, computed from its query rows, and the time of retrieval before it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, get_args

import numpy as np

from benchmarks.evaluation.resampling import paired_quantiles
from benchmarks.evaluation.statistics import Statistic, bootstrap_interval, percentile_interval
from benchmarks.measuring.utilisation import cell_utilisation
from benchmarks.results.record import requests_per_second
from reports.analysis.comparisons.by_query import ByQuery
from reports.analysis.estimates import Estimate
from reports.analysis.values import Latency, Part, Stage, StageOperations
from reports.formats.numbers import percent
from rerankers.stages import STAGES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from benchmarks.candidates.frozen import Pool
    from benchmarks.results.record import QueryRow
    from benchmarks.results.store import CellResult
    from reports.analysis.values import Sentence, SystemResult

UNTRACKED = "untracked"
STAGE_ORDER: tuple[str, ...] = (*STAGES, UNTRACKED)
QUANTILES = {"p5": 0.05, "p25": 0.25, "p50": 0.50, "p75": 0.75, "p95": 0.95, "p99": 0.99}


RESAMPLES = 2_000  # of queries with several repeats, and of ratios, whose resamples have to be drawn


def latency(rows: Sequence[QueryRow]) -> Latency | None:
    """Return quantiles and mean of the seconds per query over every call, with intervals; None without rows.

    Intervals are over the queries, however often each was measured.
    """
    if not rows:
        return None
    seconds = seconds_by_query(rows)
    resamples = 10_000 if seconds.shape[1] == 1 else RESAMPLES
    levels = np.quantile([row.total_seconds for row in rows], list(QUANTILES.values()))
    quantiles = {name: float(level) for name, level in zip(QUANTILES, levels, strict=True)}
    intervals = {
        statistic: bootstrap_interval(seconds, statistic, resamples=resamples)
        for statistic in get_args(Statistic)
    }
    return Latency(
        calls=len(rows),
        p50=Estimate(quantiles["p50"], *intervals["median"]),
        p95=Estimate(quantiles["p95"], *intervals["p95"]),
        p99=Estimate(quantiles["p99"], *intervals["p99"]),
        mean=Estimate(fmean(row.total_seconds for row in rows), *intervals["mean"]),
        quantiles=quantiles,
    )


def seconds_by_query(rows: Sequence[QueryRow]) -> NDArray[np.float64]:
    """Return total seconds as an array (queries, repeats), or their means (queries, 1).

    Means are taken where queries have different numbers of repeats.
    """
    totals: dict[str, list[float]] = {}
    for row in rows:
        totals.setdefault(row.query_id, []).append(row.total_seconds)
    if len({len(values) for values in totals.values()}) > 1:
        totals = {query_id: [fmean(values)] for query_id, values in totals.items()}
    return np.array([*totals.values()])


@dataclass(frozen=True)
class Calls:
    """The seconds of a system's calls, for its speed-up over another system.

    Attributes:
        query_ids: ids of all queries that were timed, sorted.
        seconds: seconds in the order of these ids, (n_queries, repeats), as `seconds_by_query` gives them.
        median: median over all calls.
    """

    query_ids: list[str]
    seconds: NDArray[np.float64]
    median: float

    @classmethod
    def of(cls, rows: Sequence[QueryRow]) -> Calls:
        """Collect the seconds of a system's rows."""
        ordered = sorted(rows, key=lambda row: row.query_id)
        median = float(np.median([row.total_seconds for row in rows]))
        return cls(sorted({row.query_id for row in rows}), seconds_by_query(ordered), median)

    @cached_property
    def resampled_medians(self) -> NDArray[np.float64]:
        """The median of each bootstrap resample of the queries, (resamples,); all systems share the draws."""
        return paired_quantiles(self.seconds, 0.5, RESAMPLES, seed=0)


def speedup(slow: Calls, fast: Calls) -> Estimate:
    """Return the slow system's median over the fast one's, with an interval where they share all queries."""
    ratio = slow.median / fast.median
    if slow.query_ids != fast.query_ids:
        return Estimate(ratio)
    return Estimate(ratio, *percentile_interval(slow.resampled_medians / fast.resampled_medians))


def stages(rows: Sequence[QueryRow]) -> tuple[Stage, ...]:
    """Return each stage's mean seconds per query and share of the total, in the vocabulary's order.

    The rest of the total is the stage `untracked`.
    """
    if not rows:
        return ()
    total = sum(row.total_seconds for row in rows) / len(rows)
    sums: dict[str, float] = {}
    for row in rows:
        for name, seconds in row.stage_seconds.items():
            sums[name] = sums.get(name, 0.0) + seconds
    means = {name: sums[name] / len(rows) for name in STAGE_ORDER if name in sums}
    means[UNTRACKED] = max(0.0, total - sum(means.values()))
    return tuple(Stage(name, seconds, seconds / total if total else 0.0) for name, seconds in means.items())


def parts(rows: Sequence[QueryRow]) -> tuple[Part, ...]:
    """Return the stages of each reranker inside a fusion or a cascade, in order, with mean seconds per query.

    Two of one kind are told apart by their number. Empty for other systems.
    """
    total = sum(row.total_seconds for row in rows)
    names: list[str] = []
    sums: list[dict[str, float]] = []
    for row in rows:
        for place, part in enumerate(row.usage.get("parts", ())):
            if place == len(names):
                names.append(part["reranker"])
                sums.append({})
            for name, seconds in part["stage_seconds"].items():
                sums[place][name] = sums[place].get(name, 0.0) + seconds
    named = [f"{name} {place}" if names.count(name) > 1 else name for place, name in enumerate(names, 1)]
    return tuple(
        Part(
            name,
            tuple(
                Stage(stage, by[stage] / len(rows), by[stage] / total) for stage in STAGE_ORDER if stage in by
            ),
        )
        for name, by in zip(named, sums, strict=True)
    )


def work(rows: Sequence[QueryRow]) -> dict[str, float]:
    """Return the mean per query of each usage count, such as windows, calls and tokens, by name.

    Only names that occur in some row are returned.
    """
    sums: dict[str, float] = {}
    for row in rows:
        for name, count in row.usage.items():
            if isinstance(count, int | float):
                sums[name] = sums.get(name, 0.0) + count
    return {name: total / len(rows) for name, total in sums.items()}


def longest_prompt(rows: Sequence[QueryRow]) -> float | None:
    """Return the largest value over queries of the mean tokens per prompt; None without counts."""
    counted = [
        row.usage["prompt_tokens"] / row.usage["llm_calls"]
        for row in rows
        if row.usage.get("prompt_tokens") and row.usage.get("llm_calls")
    ]
    return max(counted, default=None)


def operations(cells: Sequence[CellResult]) -> dict[str, float]:
    """Return mean joules, FLOPs and bytes per query, and utilisation, of one system; only what was measured.

    Joules need a counter in every process that measured a query, else some of them would be missing.
    """
    totals: dict[str, float] = {}
    rows = sum(len(cell.rows) for cell in cells)
    joules = [
        cell.record.sessions[place].device_joules
        for cell in cells
        for place in {row.session for row in cell.rows}
    ]
    if joules and all(joules):
        totals["joules"] = sum(filter(None, joules)) / rows
    stages = stage_operations(cells)
    totals["flops"] = sum(stage.flops for stage in stages)
    totals["bytes"] = sum(stage.bytes for stage in stages)
    seconds = sum(stage.flops / stage.utilisation for stage in stages if stage.utilisation)  # at the peak
    if seconds:
        totals["utilisation"] = sum(stage.flops for stage in stages if stage.utilisation) / seconds
    return {name: value for name, value in totals.items() if value}


def served(cells: Sequence[CellResult]) -> dict[str, float]:
    """Return mean requests per second and mean seconds in the queue, by name; {} in other modes."""
    rates = [rate for cell in cells if (rate := requests_per_second(cell.rows))]
    waits = [row.queued_seconds for cell in cells for row in cell.rows if row.queued_seconds is not None]
    means = {"requests_per_second": rates, "queued_seconds": waits}
    return {name: fmean(values) for name, values in means.items() if values}


def throughput(cells: Sequence[CellResult], passages: Mapping[str, int]) -> dict[str, float]:
    """Return queries and passages per second of calls in throughput mode, by name; empty in other modes.

    Args:
        cells: the cells of one system.
        passages: number of candidates by query id.
    """
    rows = [row for cell in cells if cell.record.protocol.mode == "throughput" for row in cell.rows]
    seconds = sum(row.total_seconds for row in rows)
    if not seconds:
        return {}
    ranked = sum(passages.get(row.query_id, 0) for row in rows)
    return {"queries_per_second": len(rows) / seconds, "passages_per_second": ranked / seconds}


def stage_operations(cells: Sequence[CellResult]) -> tuple[StageOperations, ...]:
    """Return FLOPs, bytes and utilisation by stage, per query, from the first cell that counted them.

    Empty where no cell did.
    """
    for cell in cells:
        counted = cell.record.operations
        if counted and counted.queries:
            used = cell_utilisation(cell)
            return tuple(
                StageOperations(
                    name=name,
                    flops=counted.flops.get(name, 0) / counted.queries,
                    bytes=counted.bytes.get(name, 0) / counted.queries,
                    utilisation=used.get(name),
                )
                for name in STAGE_ORDER
                if counted.flops.get(name) or counted.bytes.get(name)
            )
    return ()


def faults(rows: Sequence[QueryRow]) -> tuple[dict[str, int], int]:
    """Return the output faults by kind, summed over the first repeat, and the number of queries with any."""
    counts: dict[str, int] = {}
    queries = 0
    for row in rows:
        row_faults = row.usage.get("faults", {}) if row.repeat == 0 else {}
        queries += bool(row_faults)
        for kind, count in row_faults.items():
            counts[kind] = counts.get(kind, 0) + count
    return counts, queries


def query_seconds(rows: Sequence[QueryRow]) -> ByQuery:
    """Return each query's mean total seconds over its repeats."""
    totals: dict[str, list[float]] = {}
    for row in rows:
        totals.setdefault(row.query_id, []).append(row.total_seconds)
    means = np.array([sum(values) / len(values) for values in totals.values()], dtype=np.float64)
    return ByQuery({query_id: place for place, query_id in enumerate(totals)}, means)


def about_noise(systems: Sequence[SystemResult]) -> str:
    """Return a sentence on the spread of the identity control's calls; "" where none ran."""
    noises = {system.label: system.timing.noise for system in systems if system.timing.noise is not None}
    if not noises:
        return ""
    quiet, loud = min(noises, key=noises.__getitem__), max(noises, key=noises.__getitem__)
    sentence = f"{percent(noises[quiet])} above its median during {quiet}"
    sentence += f", {percent(noises[loud])} during {loud}" if quiet != loud else ""
    return (
        "An identity control, the same trivial call again and again, ran between the calls that were "
        f"measured: its p95 lay {sentence}. What it strays is the machine's noise, not the system's."
    )


NOISY = 0.5
"""Share by which the control's p95 lies above its median where speeds cannot be trusted."""


def noisy(systems: Sequence[SystemResult]) -> list[Sentence]:
    """Return a sentence if the identity control's p95 was over 1.5 times its median for some system.

    Its latencies are then in doubt, because the machine was busy with other work.
    """
    loud = [one for one in systems if one.timing.noise is not None and one.timing.noise > NOISY]
    if not loud:
        return []
    worst = max(loud, key=lambda one: one.timing.noise or 0.0)
    named = worst.label if len(loud) == 1 else f"{worst.label} and {len(loud) - 1} more"
    return [
        (
            "The machine was busy while ",
            named,
            f" was measured: the same call took {percent(worst.timing.noise or 0.0)} longer at its p95 than "
            "at its median. Measure again on a quiet machine before you compare latencies.",
        )
    ]


def before_reranking(pool: Pool) -> tuple[Stage, ...]:
    """Return the mean seconds per query of retrieving and fetching candidates; () without timings."""
    measured = {"retrieve": pool.retrieve_seconds, "fetch": pool.fetch_seconds}
    means = {name: sum(by.values()) / len(by) for name, by in measured.items() if by}
    total = sum(means.values())
    return tuple(Stage(name, seconds, seconds / total if total else 0.0) for name, seconds in means.items())
