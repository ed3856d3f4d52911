"""Every column a table may have: its name, unit, direction, meaning, and how to read it off a system.

Names are what a user's own column list says: a measure as ir_measures prints it, one of `COLUMNS`,
`stage:<name>` (mean milliseconds) or `share:<name>` (of the mean total).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from reports.numbers import count, fixed, percent, significant, times
from reports.timing import STAGE_ORDER
from reports.values import Estimate
from rerankers.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable

    from reports.values import Group, SystemResult

MILLISECONDS = 1e3


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        section: heading that neighbouring columns share.
        better: which direction is marked as best; None where neither is.
        read: the value in the column's unit; None where the system has none.
        text: the value as printed.
        detail: left out of the named layouts of LaTeX and Markdown, whose pages are narrow.
    """

    name: str
    title: str
    section: str
    meaning: str
    read: Callable[[SystemResult], Estimate | None]
    text: Callable[[float], str]
    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    detail: bool = False


def column(name: str, group: Group) -> Column:
    """The column of that name, for a group's systems.

    Raises:
        UnknownNameError: there is no such column.
    """
    family, _, stage = name.partition(":")
    if name in COLUMNS:
        return COLUMNS[name]
    if family in ("stage", "share") and stage in STAGE_ORDER:
        return _stage(family, stage)
    if name in group.measures:
        return _measure(name)
    raise UnknownNameError("column", name, known_columns(group))


def known_columns(group: Group) -> list[str]:
    """Every column name that means something for a group."""
    stages = [f"{family}:{stage}" for family in ("stage", "share") for stage in STAGE_ORDER]
    return [*group.measures, *COLUMNS, *stages]


def _measure(name: str) -> Column:
    judged = name.startswith("Judged")
    return Column(
        name=name,
        title=name,
        section="Effectiveness",
        meaning="share of the passages ranked that high which were judged"
        if judged
        else f"{name}, mean over all judged queries; a query without a ranking counts 0",
        read=lambda system: system.quality.get(name),
        text=percent if judged else partial(fixed, decimals=4),
        better=None if judged else "higher",
    )


def _stage(family: str, stage: str) -> Column:
    def milliseconds(system: SystemResult) -> Estimate | None:
        return next((Estimate(s.seconds * MILLISECONDS) for s in system.stages if s.name == stage), None)

    def share(system: SystemResult) -> Estimate | None:
        return next((Estimate(s.share) for s in system.stages if s.name == stage), None)

    if family == "stage":
        return Column(
            f"stage:{stage}",
            stage,
            "Stages, mean per query",
            f"mean time in {stage}",
            milliseconds,
            significant,
            "ms",
        )
    return Column(
        f"share:{stage}", stage, "Share of the total", f"{stage} as a share of the total", share, percent
    )


def _latency(name: str) -> Callable[[SystemResult], Estimate | None]:
    def read(system: SystemResult) -> Estimate | None:
        if system.latency is None:
            return None
        seconds: Estimate = getattr(system.latency, name)
        low, high = seconds.low, seconds.high
        return Estimate(
            seconds.value * MILLISECONDS,
            None if low is None else low * MILLISECONDS,
            None if high is None else high * MILLISECONDS,
        )

    return read


def _work(*names: str) -> Callable[[SystemResult], Estimate | None]:
    def read(system: SystemResult) -> Estimate | None:
        found = [system.work[name] for name in names if name in system.work]
        return Estimate(sum(found)) if found else None

    return read


def _speedup(system: SystemResult) -> Estimate | None:
    return None if system.speedup is None else Estimate(system.speedup)


def _faulty(system: SystemResult) -> Estimate | None:
    if system.role != "reranker" or not system.measured_queries or system.status != "done":
        return None
    if not system.faults and not system.work.get("llm_calls"):
        return None  # a method that parses no output cannot fault
    return Estimate(system.faulty_queries / system.measured_queries)


def _bytes(name: str) -> Callable[[SystemResult], Estimate | None]:
    def read(system: SystemResult) -> Estimate | None:
        value: int | None = getattr(system, name)
        return None if value is None else Estimate(value / 2**30)

    return read


_TIME = "Latency per query"
_WORK = "Work per query"
_CELL = "System"

COLUMNS: dict[str, Column] = {
    entry.name: entry
    for entry in (
        Column("p50", "p50", _TIME, "median latency", _latency("p50"), significant, "ms", "lower"),
        Column("p95", "p95", _TIME, "95th percentile", _latency("p95"), significant, "ms", "lower"),
        Column(
            "p99", "p99", _TIME, "99th percentile", _latency("p99"), significant, "ms", "lower", detail=True
        ),
        Column(
            "mean", "mean", _TIME, "mean latency", _latency("mean"), significant, "ms", "lower", detail=True
        ),
        Column(
            "speedup", "speed-up", _TIME, "slowest p50 divided by this p50", _speedup, times, "×", "higher"
        ),
        Column("windows", "windows", _WORK, "windows ranked", _work("windows"), count, detail=True),
        Column("llm_calls", "LLM calls", _WORK, "calls of a language model", _work("llm_calls"), count),
        Column(
            "tokens",
            "tokens",
            _WORK,
            "prompt and generated tokens",
            _work("prompt_tokens", "generated_tokens"),
            count,
        ),
        Column("prompt_tokens", "prompt", _WORK, "prompt tokens", _work("prompt_tokens"), count),
        Column("generated_tokens", "generated", _WORK, "generated tokens", _work("generated_tokens"), count),
        Column(
            "decode_steps", "decode steps", _WORK, "sequential forward passes", _work("decode_steps"), count
        ),
        Column(
            "embedded", "embedded", _WORK, "passages embedded on the spot", _work("passages_embedded"), count
        ),
        Column(
            "faulty",
            "faulty",
            _WORK,
            "queries whose output had to be repaired",
            _faulty,
            percent,
            detail=True,
        ),
        Column(
            "load",
            "load",
            _CELL,
            "time to construct the reranker, weights included",
            lambda system: None if system.load_seconds is None else Estimate(system.load_seconds),
            significant,
            "s",
        ),
        Column(
            "device_memory",
            "GPU memory",
            _CELL,
            "peak GPU memory",
            _bytes("peak_device_bytes"),
            significant,
            "GiB",
        ),
        Column(
            "host_memory",
            "host memory",
            _CELL,
            "peak resident memory",
            _bytes("peak_host_bytes"),
            significant,
            "GiB",
        ),
    )
}
