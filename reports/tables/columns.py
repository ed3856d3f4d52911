"""All columns that a table may have: name, unit, direction, meaning, and the value of each system.

Users name a column by a measure as ir_measures prints it, one of `COLUMNS`, `stage:<name>` (mean
milliseconds), `share:<name>` (of the mean total), or `flops:<name>`, `bytes:<name>` and `utilisation:<name>`
of a stage whose operations were counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

from reports.analysis.estimates import Estimate
from reports.analysis.timing import STAGE_ORDER
from reports.formats.numbers import count, dollars, fixed, percent, significant, times
from reports.tables.cells import Head
from rerankers.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reports.analysis.values import Group, SystemResult

MILLISECONDS = 1e3


@dataclass(frozen=True, slots=True)
class Column:
    """A column of tables of systems.

    Attributes:
        better: direction in which the best value is marked; None to mark none.
        read: function that returns a system's value in the heading's unit; None if it has none.
        text: function that formats the value.
        detail: whether the named layouts leave it out in LaTeX and Markdown, whose pages are narrow.
    """

    head: Head
    read: Callable[[SystemResult], Estimate | None]
    text: Callable[[float], str]
    better: Literal["higher", "lower"] | None = None
    detail: bool = False


def column(name: str, group: Group) -> Column:
    """Return the column of a name, for a group's systems.

    Raises:
        UnknownNameError: no column has this name.
    """
    family, _, stage = name.partition(":")
    if name == "speedup" and group.mode == "throughput":
        return _speedup("Throughput", "the median time per query that speed-ups refer to divided by this one")
    if name in COLUMNS:
        return COLUMNS[name]
    if family in ("stage", "share") and stage in STAGE_ORDER:
        return _stage(family, stage)
    if family in OPERATIONS and stage in STAGE_ORDER:
        return _operations(family, stage)
    if name in group.measures:
        return _measure(name)
    raise UnknownNameError("column", name, known_columns(group))


def known_columns(group: Group) -> list[str]:
    """Return all column names that are valid for a group, its measures first."""
    stages = [f"{family}:{stage}" for family in FAMILIES for stage in STAGE_ORDER]
    return [*group.measures, *COLUMNS, *stages]


def _measure(name: str) -> Column:
    """Return the column of a measure."""
    if name.startswith("Judged"):
        head = Head(name, name, "Effectiveness", "share of the passages ranked that high which were judged")
        return Column(head, lambda system: system.quality.estimates.get(name), percent)
    meaning = f"{name}, mean over all judged queries; a query without a ranking counts 0"
    head = Head(name, name, "Effectiveness", meaning)
    return Column(
        head, lambda system: system.quality.estimates.get(name), partial(fixed, decimals=4), "higher"
    )


def _stage(family: str, stage: str) -> Column:
    """Return the column of a stage's mean milliseconds (`stage`), or of its share of the total (`share`)."""

    def milliseconds(system: SystemResult) -> Estimate | None:
        return next(
            (Estimate(s.seconds * MILLISECONDS) for s in system.timing.stages if s.name == stage), None
        )

    def share(system: SystemResult) -> Estimate | None:
        return next((Estimate(s.share) for s in system.timing.stages if s.name == stage), None)

    if family == "stage":
        head = Head(f"stage:{stage}", stage, "Stages, mean per query", f"mean time in {stage}", "ms")
        return Column(head, milliseconds, significant)
    head = Head(f"share:{stage}", stage, "Share of the mean total", f"{stage}'s share of the mean total")
    return Column(head, share, percent)


def _operations(family: str, stage: str) -> Column:
    """Return the column of a stage's counted operations: `flops`, `bytes` or `utilisation`."""
    title, unit, divisor, meaning = OPERATIONS[family]

    def read(system: SystemResult) -> Estimate | None:
        value = next(
            (
                getattr(operations, family)
                for operations in system.work.operations
                if operations.name == stage
            ),
            None,
        )
        return None if value is None else Estimate(value / divisor)

    head = Head(f"{family}:{stage}", stage, title, f"{meaning} in {stage}", unit)
    return Column(head, read, percent if family == "utilisation" else significant)


def _latency(name: str) -> Callable[[SystemResult], Estimate | None]:
    """Return a function that reads a latency statistic such as `p50`, in milliseconds with its interval."""

    def read(system: SystemResult) -> Estimate | None:
        if system.timing.latency is None or system.timing.is_amortised:
            return None
        seconds: Estimate = getattr(system.timing.latency, name)
        low, high = seconds.low, seconds.high
        return Estimate(
            seconds.value * MILLISECONDS,
            None if low is None else low * MILLISECONDS,
            None if high is None else high * MILLISECONDS,
        )

    return read


def _work(name: str, divisor: float = 1.0) -> Callable[[SystemResult], Estimate | None]:
    """Return a function that reads a mean count per query, divided by `divisor`."""
    return lambda system: Estimate(system.work.counts[name] / divisor) if name in system.work.counts else None


def _load(name: str) -> Callable[[SystemResult], Estimate | None]:
    """Return a function that reads a property of a served system's load."""

    def read(system: SystemResult) -> Estimate | None:
        value = getattr(system.timing.served, name, None)
        return None if value is None else Estimate(float(value))

    return read


def _plain(name: str, divisor: float = 1.0) -> Callable[[SystemResult], Estimate | None]:
    """Return a function that reads an attribute by its dotted name, divided by `divisor`."""

    def read(system: SystemResult) -> Estimate | None:
        value: float | None = attrgetter(name)(system)
        return None if value is None else Estimate(value / divisor)

    return read


def _mean_stage(system: SystemResult, name: str) -> float | None:
    """Look up a system's mean seconds per query in a stage; None if it has no such stage."""
    return next((stage.seconds for stage in system.timing.stages if stage.name == name), None)


def _speedup(heading: str, meaning: str) -> Column:
    """Return the column of speed-ups."""
    head = Head("speedup", "speed-up", heading, meaning, "×")
    return Column(head, lambda system: system.timing.speedup, times, "higher")


def _first_token(system: SystemResult) -> Estimate | None:
    """Return the mean milliseconds to an output's first token: prefill time per LLM call."""
    seconds, calls = _mean_stage(system, "prefill"), system.work.counts.get("llm_calls")
    return Estimate(seconds / calls * MILLISECONDS) if seconds and calls else None


def _inter_token(system: SystemResult) -> Estimate | None:
    """Return the mean milliseconds between generated tokens: decode time per token after the first."""
    seconds = _mean_stage(system, "decode")
    steps = system.work.counts.get("generated_tokens", 0.0) - system.work.counts.get("llm_calls", 0.0)
    return Estimate(seconds / steps * MILLISECONDS) if seconds and steps > 0 else None


def _total_dollars(system: SystemResult) -> Estimate | None:
    """Return the dollars of all measured calls at list price."""
    if system.timing.latency is None or "dollars" not in system.work.counts:
        return None
    return Estimate(system.work.counts["dollars"] * system.timing.latency.calls)


def _well_formed(system: SystemResult) -> Estimate | None:
    """Return the share of LLM calls with well-formed output; None for a method that parses no text."""
    calls, good = system.work.counts.get("llm_calls"), system.work.counts.get("well_formed", 0.0)
    if not calls or not (good or (system.work.faults and system.work.counts.get("generated_tokens"))):
        return None  # a method that parses no text
    return Estimate(good / calls)


def _faulty(system: SystemResult) -> Estimate | None:
    """Return the share of queries with a repaired output; None for a method that parses none."""
    if system.role != "reranker" or not system.measured_queries or system.status != "done":
        return None
    if not system.work.faults and not system.work.counts.get("llm_calls"):
        return None  # a method that parses no output cannot fault
    return Estimate(system.work.faulty_queries / system.measured_queries)


OPERATIONS = {  # heading over the stages, unit, divisor, meaning
    "flops": ("Operations per query", "GFLOP", 1e9, "mean floating point operations"),
    "bytes": ("Traffic per query", "GB", 1e9, "mean bytes that operators read and wrote"),
    "utilisation": ("Utilisation of the GPU", "", 1.0, "share of the GPU's published peak"),
}
FAMILIES = ("stage", "share", *OPERATIONS)
"""The prefix, before the colon, in the name of a stage's column."""


def _latency_columns() -> Iterator[Column]:
    """Yield the columns on latency, load and throughput."""
    time = "Latency per query"
    for name, title, meaning, detail in (
        ("p50", "p50", "median latency", False),
        ("p95", "p95", "95th percentile of latency", False),
        ("p99", "p99", "99th percentile of latency", True),
        ("mean", "mean", "mean latency", True),
    ):
        yield Column(Head(name, title, time, meaning, "ms"), _latency(name), significant, "lower", detail)
    meaning = "first ten ranks that tie with the next rank, mean over queries; the first stage orders them"
    yield Column(Head("ties", "ties", "Effectiveness", meaning), _work("ties"), significant)
    yield _speedup(time, "the p50 that speed-ups refer to divided by this p50")
    head = Head("queued", "in the queue", time, "mean wait of a request before it was taken", "ms")
    yield Column(head, _work("queued_seconds", 1 / MILLISECONDS), significant, "lower")
    head = Head("rate", "rate", "Load", "requests that arrived per second", "1/s")
    yield Column(head, _load("rate"), significant)
    head = Head("clients", "clients", "Load", "clients that sent a request once the last one was answered")
    yield Column(head, _load("clients"), count)
    for name, title, meaning in (
        ("queries_per_second", "queries", "queries ranked per second, in batches"),
        ("passages_per_second", "passages", "passages ranked per second, in batches"),
    ):
        yield Column(Head(name, title, "Throughput", meaning, "1/s"), _work(name), significant, "higher")
    head = Head(
        "requests_per_second", "answered", "Throughput", "requests answered per second of serving", "1/s"
    )
    yield Column(head, _work("requests_per_second"), significant, "higher")


def _work_columns() -> Iterator[Column]:
    """Yield the columns on work per query: windows, calls, tokens, passages."""
    for name, title, meaning, detail in (
        ("windows", "windows", "windows ranked", True),
        ("llm_calls", "LLM calls", "calls of a language model", False),
        ("sequential_calls", "in sequence", "LLM calls that had to follow one another", False),
        ("prompt_tokens", "prompt", "prompt tokens", False),
        ("cached_tokens", "cached", "prompt tokens that the backend had cached", False),
        ("generated_tokens", "generated", "generated tokens", False),
        ("reasoning_tokens", "thinking", "generated tokens that precede the answer", False),
        ("tokens_saved", "saved", "tokens not generated because the answer was known, estimated", True),
        ("calls_estimated", "estimated", "calls whose tokens are an estimate, for want of a report", True),
        ("calls_replayed", "replayed", "calls answered from a recording, with the time they took then", True),
        ("retries", "retries", "further attempts after calls that failed; in no latency", True),
        ("decode_steps", "decode steps", "forward passes that follow one another", False),
        ("passages_embedded", "embedded", "passages embedded on the spot", False),
        ("passages_from_store", "stored", "passages whose embeddings came from the store", True),
        ("passages_truncated", "truncated", "passages that did not fit and were cut", False),
        ("control_tokens", "control tokens", "control tokens met in queries and passages", False),
    ):
        head = Head(name, title, "Work per query", meaning)
        yield Column(head, _work(name), count, detail=detail)


def _cost_columns() -> Iterator[Column]:
    """Yield the columns on cost, energy and operations."""
    for name, title, meaning, read in (
        ("first_token", "first token", "mean time to an answer's first token", _first_token),
        ("inter_token", "per token", "mean time from one generated token to the next", _inter_token),
    ):
        yield Column(Head(name, title, "Latency per call", meaning, "ms"), read, significant, "lower", True)
    head = Head("dollars", "per query", "Cost", "mean cost per query at list price", "$")
    yield Column(head, _work("dollars"), dollars, "lower")
    meaning = "cost of all measured queries at list price; warm-up queries cost extra"
    yield Column(Head("dollars_total", "in all", "Cost", meaning, "$"), _total_dollars, dollars, detail=True)
    for name, title, unit, divisor, meaning in (
        ("joules", "energy", "J", 1.0, "mean energy of the GPUs per query, by their own counters"),
        ("flops", "operations", "GFLOP", 1e9, "mean floating point operations per query, counted untimed"),
        ("bytes", "traffic", "GB", 1e9, "mean bytes that operators read and wrote per query, nothing cached"),
    ):
        head = Head(name, title, "Energy and operations per query", meaning, unit)
        yield Column(head, _work(name, divisor), significant, "lower", detail=name == "bytes")
    meaning = "share of the GPU's published peak that the counted stages reached"
    head = Head("utilisation", "utilisation", "Energy and operations per query", meaning)
    yield Column(head, _work("utilisation"), percent, "higher", detail=True)


def _system_columns() -> Iterator[Column]:
    """Yield the columns on faults, loading, memory and machine noise."""
    work, cell = "Work per query", "System"
    head = Head("well_formed", "well-formed", work, "answers that were just what was asked for")
    yield Column(head, _well_formed, percent, "higher", detail=True)
    head = Head("faulty", "faulty", work, "queries whose output had to be repaired")
    yield Column(head, _faulty, percent, detail=True)
    head = Head("load", "load", cell, "time to construct the reranker, weights included", "s")
    yield Column(head, _plain("provenance.load_seconds"), significant)
    head = Head("device_memory", "GPU memory", cell, "peak GPU memory", "GiB")
    yield Column(head, _plain("provenance.peak_device_bytes", 2**30), significant)
    meaning = "p95 over median, less one, of an identity control between the calls: the machine's noise"
    yield Column(Head("noise", "noise", cell, meaning), _plain("timing.noise"), percent, detail=True)
    meaning = "mean load average over the threads that the process may use, while it measured"
    yield Column(
        Head("load_average", "load average", cell, meaning), _plain("timing.load"), significant, detail=True
    )
    meaning = (
        "peak of resident memory above that before the system loaded; libraries that an earlier system had "
        "loaded are left out, unless protocol.own_process gives each system a process of its own"
    )
    head = Head("host_memory", "host memory", cell, meaning, "GiB")
    yield Column(head, _plain("provenance.host_bytes", 2**30), significant)


COLUMNS: dict[str, Column] = {
    column.head.name: column
    for column in (*_latency_columns(), *_work_columns(), *_cost_columns(), *_system_columns())
}
