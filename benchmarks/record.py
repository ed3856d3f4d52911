"""What a result folder says about one cell: frozen, versioned, raw.

A cell is one reranker on one candidate pool. Its record holds everything but the per-query values, which are
`QueryRow` lines beside it. Measures, percentiles and tests are computed when a result is read, never stored.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1

Mode = Literal["latency", "throughput", "served"]
Status = Literal["running", "done", "failed"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class System(_Frozen):
    """A reranker as the experiment names it, and what it resolved to once loaded.

    Attributes:
        label: the name that tables and charts print; unique within an experiment.
        reranker: the registered name.
        options: constructor options as given.
        described: `Reranker.describe()`: models, revisions, dtype, attention; a `notice` goes under tables.
    """

    label: str
    reranker: str
    options: dict[str, Any] = {}
    described: dict[str, Any] = {}


class Protocol(_Frozen):
    """How time was measured.

    Attributes:
        mode: `latency` one query at a time, `throughput` queries in batches, `served` fixed concurrency.
        warmup: queries run and thrown away before measuring.
        repeats: times each query is measured.
        batch_size: requests per call; 1 in latency mode.
        seed: given to Python's, numpy's and torch's generators before each cell.
    """

    mode: Mode = "latency"
    warmup: int = Field(default=2, ge=0)
    repeats: int = Field(default=1, ge=1)
    batch_size: int = Field(default=1, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _modes_are_not_mixed(self) -> Protocol:
        if self.mode == "served":
            raise ValueError("served mode is not there yet; use mode: throughput")
        if self.mode == "latency" and self.batch_size > 1:
            raise ValueError("latency mode measures one query at a time; for batches use mode: throughput")
        return self


class Session(_Frozen):
    """One process that wrote into the cell; a resumed cell has several.

    Attributes:
        started_at: ISO 8601, UTC.
        environment: git revision, library and driver versions, CPU, GPU, clocks; `benchmarks.environment`.
        load_seconds: constructing the reranker, weights included.
        warmup_seconds: total of each warm-up query, in order.
        peak_device_bytes: largest GPU memory in use during this session; None without a GPU.
        peak_host_bytes: largest resident memory of the process during this session.
        described: `Reranker.describe()` when the session ended: an endpoint may by then run another version.
    """

    started_at: str
    environment: dict[str, Any]
    load_seconds: float | None = None
    warmup_seconds: tuple[float, ...] = ()
    peak_device_bytes: int | None = None
    peak_host_bytes: int | None = None
    described: dict[str, Any] = {}


class Record(_Frozen):
    """`record.json` of one cell."""

    schema_version: int = SCHEMA_VERSION
    cell: str
    experiment: str
    status: Status
    error: str | None = None
    system: System
    dataset: str
    first_stage: dict[str, Any]
    depth: int
    pool: str
    """Digest of the candidate pool, the name of its folder under `pools/`."""
    measures: tuple[str, ...]
    """Measures the experiment asked for, in ir_measures' names; the first is the headline."""
    protocol: Protocol
    sessions: tuple[Session, ...] = ()
    is_imported: bool = False
    """Whether the rankings are another's run: nothing was measured, and there are no query rows."""


class QueryRow(_Frozen):
    """One line of `queries.jsonl`: one query, one repeat.

    Attributes:
        session: position in `Record.sessions` of the process that measured it.
        total_seconds: wall time of the call divided by its batch size, as the harness measured it.
        stage_seconds: by stage; the total minus their sum is `untracked`.
        usage: the non-zero counts of `rerankers.Usage`.
        ranking: first 16 hex digits of the sha256 of the ranking's lines in `ranking.trec`.
    """

    query_id: str
    repeat: int
    session: int
    total_seconds: float
    stage_seconds: dict[str, float]
    usage: dict[str, Any]
    ranking: str
