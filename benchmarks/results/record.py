"""The record of one cell in a result folder: frozen, versioned, raw.

A cell is one reranker on one candidate pool. Its record holds everything but the per-query values, which are
`QueryRow` lines beside it. Measures, percentiles and tests are computed when a result is read, never stored.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA_VERSION = 3
"""Records of another version are refused; a version that was released will need a migration here."""

FOLDER_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""Cells and pools are folders of these names, so that no record leads out of its result folder."""

Mode = Literal["latency", "throughput", "served"]
Status = Literal["running", "done", "failed", "damaged"]
"""`damaged` is never written: it is what readers make of a cell that does not match its seal."""
WarmupEnd = Literal["fixed", "stable", "maximum"]


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


class Slo(_Frozen):
    """A promise about latency under load, such as `p95 < 0.5 s`.

    Attributes:
        percentile: of all requests, above 0 and below 100.
        seconds: which that percentile has to stay below, waiting included.
    """

    percentile: float = Field(gt=0, lt=100)
    seconds: float = Field(gt=0, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        """Read `p95 < 0.5 s` or `p99 < 300 ms`."""
        if not isinstance(value, str):
            return value
        found = re.fullmatch(r"\s*p(\d+(?:\.\d+)?)\s*<\s*(\d+(?:\.\d+)?)\s*(ms|s)\s*", value)
        if found is None:
            raise ValueError("write it as p95 < 0.5 s or p99 < 300 ms")
        seconds = float(found[2]) / (1000 if found[3] == "ms" else 1)
        return {"percentile": float(found[1]), "seconds": seconds}

    def __str__(self) -> str:
        return f"p{self.percentile:g} < {self.seconds:g} s"


class Served(_Frozen):
    """The arrival process of mode `served`: see `benchmarks.measuring.served`.

    Attributes:
        rate: requests a second that arrive on their own; None for clients that wait for their answers.
        arrivals: of such requests, `poisson` at random or `fixed` at equal distances.
        concurrency: clients that each send a request once the last one is answered; with a rate, requests
            that an endpoint gets at once at most, 64 unless given.
        slo: what latency has to keep; the numbers are the same with or without it.
    """

    rate: float | None = Field(default=None, gt=0)
    arrivals: Literal["poisson", "fixed"] = "poisson"
    concurrency: int | None = Field(default=None, ge=1)
    slo: Slo | None = None

    @property
    def load(self) -> str:
        """In words."""
        if self.rate is not None:
            return f"{self.rate:g} requests a second, {self.arrivals}"
        return f"{self.concurrency} client{'s' * (self.concurrency != 1)}"

    @property
    def short(self) -> str:
        """In a few letters, for labels."""
        return f"{self.rate:g}/s" if self.rate is not None else self.load

    @model_validator(mode="after")
    def _something_arrives(self) -> Served:
        if self.rate is None and self.concurrency is None:
            raise ValueError("say how requests arrive: rate, in requests a second, or concurrency")
        return self


class Protocol(_Frozen):
    """The measuring protocol of a session.

    Attributes:
        mode: `latency` one query at a time, `throughput` queries in batches, `served` queries as
            they arrive, in which case `served` says how.
        warmup: queries run and thrown away before measuring; or `stable`: the first query again and again
            until its time is, see `benchmarks.measuring.protocol`.
        repeats: times each query is measured.
        batch_size: requests per call; 1 in latency mode; in served mode the most that are taken at once.
        seed: of what a call draws, with its query and its repeat: see `benchmarks.measuring.seeds`.
        threads: what torch, OpenMP and BLAS libraries are held to; None for OMP_NUM_THREADS or, without it,
            the physical cores.
        interleave: measure the systems of a pool query by query in turn, so that a machine that slows down
            slows them all; they must fit into memory together.
        own_process: measure each system in a process of its own, so that its memory and its time depend on
            nothing that ran before; loading takes seconds longer.
        served: how requests arrive in served mode.
    """

    mode: Mode = "latency"
    warmup: Annotated[int, Field(ge=0)] | Literal["stable"] = 2
    repeats: int = Field(default=1, ge=1)
    batch_size: int = Field(default=1, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    threads: int | None = Field(default=None, ge=1)
    interleave: bool = False
    own_process: bool = False
    served: Served | None = None

    def identity(self) -> dict[str, Any]:
        """Return the settings that define a result.

        What version 2 added counts where it is used only, so that cells which were finished before stay
        finished. An SLO changes no number.
        """
        added = {"threads", "interleave", "own_process"}
        found = self.model_dump(exclude={*added, "served"})
        found |= self.model_dump(include=added, exclude_defaults=True)
        if self.served is not None:
            found["served"] = self.served.model_dump(exclude={"slo"}, exclude_defaults=True)
        return found

    @model_validator(mode="after")
    def _modes_are_not_mixed(self) -> Self:
        if (self.mode == "served") != (self.served is not None):
            raise ValueError("mode: served goes with served: {rate: ...} or served: {concurrency: ...}")
        if self.served is not None and self.interleave:
            raise ValueError("served systems are measured one after the other; leave interleave out")
        if self.own_process and self.interleave:
            raise ValueError(
                "systems that are measured in turn share a process; leave own_process or interleave out"
            )
        if self.mode == "latency" and self.batch_size > 1:
            raise ValueError("latency mode measures one query at a time; for batches use mode: throughput")
        return self


class Executor(_Frozen):
    """The place of a session, and the work beside it; its threads are in `Session.environment`.

    Attributes:
        name: of the executor.
        is_own_process: whether the process measured this cell alone.
        node: first 8 digits of Ray's id of the node; empty for the local executor. Two nodes may be processes
            of one machine, which has one `host` in the environment.
        gpus: GPUs that the session had to itself; unknown, and None, for the local executor.
        co_runners: labels of the systems that the same run measured on that machine at the same time.
    """

    name: Literal["local", "ray"] = "local"
    node: str = ""
    gpus: int | None = None
    co_runners: tuple[str, ...] = ()
    is_own_process: bool = False


class Session(_Frozen):
    """One process that wrote into the cell; a resumed cell has several.

    Attributes:
        started_at: ISO 8601, UTC.
        environment: git revision, library and driver versions, CPU, GPU, clocks;
            `benchmarks.measuring.environment`.
        load_seconds: constructing the reranker, weights included.
        warmup_seconds: total of each warm-up query, in order.
        warmup_ended: why it ended: a `fixed` number, times were `stable`, or the `maximum` was reached.
        peak_device_bytes: largest GPU memory in use during this session; None without a GPU, or where
            systems were interleaved, whose memory cannot be told apart.
        peak_host_bytes: largest resident memory of the process during this session; likewise.
        host_bytes_before: resident memory of the process right before the reranker loaded, which tables take
            off the peak; likewise.
        device_joules: what the GPUs drew while it measured, by their own counters; None without one, or where
            systems were interleaved.
        samples: the machine's state while it measured: `benchmarks.measuring.conditions`.
        dollars_paid: what its calls of endpoints cost, warm-up, retries and components included, and replayed
            answers left out; None where no price is known, or nothing is paid.
        described: `Reranker.describe()` when the session ended: an endpoint may by then run another version.
        executor: where it ran; None in records that do not tell.
    """

    started_at: str
    environment: dict[str, Any]
    load_seconds: float | None = None
    warmup_seconds: tuple[float, ...] = ()
    warmup_ended: WarmupEnd | None = None
    peak_device_bytes: int | None = None
    peak_host_bytes: int | None = None
    host_bytes_before: int | None = None
    device_joules: float | None = None
    samples: tuple[dict[str, Any], ...] = ()
    dollars_paid: float | None = None
    described: dict[str, Any] = {}
    executor: Executor | None = None

    @property
    def host_bytes(self) -> int | None:
        """Largest resident memory above that before the reranker loaded; None if one is unknown."""
        if self.peak_host_bytes is None or self.host_bytes_before is None:
            return None
        return max(0, self.peak_host_bytes - self.host_bytes_before)


class Operations(_Frozen):
    """The work of ranking some queries on any hardware, counted in a separate pass that is not timed.

    Attributes:
        queries: how many were ranked; 0 for an endpoint, whose operations nobody sees.
        flops: floating point operations of all of them, by stage; a multiplication and an addition are two.
        bytes: sizes of what the operators read and wrote, by stage, as if nothing were fused or cached.
    """

    queries: int
    flops: dict[str, int]
    bytes: dict[str, int]


class SuiteMember(_Frozen):
    """The place of a dataset in a suite of datasets.

    Attributes:
        name: of the suite.
        title: what the dataset is called within the suite.
        datasets: how many datasets the suite has.
        part_of: a larger dataset of which this one is a part; in averages its parts count as one.
    """

    name: str
    title: str
    datasets: int = Field(ge=1)
    part_of: str | None = None


class Record(_Frozen):
    """`record.json` of one cell."""

    schema_version: int = SCHEMA_VERSION
    cell: str = Field(pattern=FOLDER_NAME)
    experiment: str
    status: Status
    error: str | None = None
    system: System
    dataset: str
    suite: SuiteMember | None = None
    """The suite that the experiment named the dataset by; None for a dataset that was named alone."""
    first_stage: dict[str, Any]
    depth: int
    pool: str = Field(pattern=rf"{FOLDER_NAME}|^$")
    """Digest of the candidate pool, the name of its folder under `pools/`."""
    measures: tuple[str, ...]
    """Measures the experiment asked for, in ir_measures' names; the first is the headline."""
    protocol: Protocol
    sessions: tuple[Session, ...] = ()
    is_imported: bool = False
    """True if the rankings were imported: nothing was measured, and there are no query rows."""
    operations: Operations | None = None
    """None where nobody asked for them (`count_operations` in the experiment file)."""
    seal: dict[str, str] | None = None
    """sha256 of `ranking.trec` and `queries.jsonl` once the cell is done; empty in older schemas."""


class QueryRow(_Frozen):
    """One line of `queries.jsonl`: one query, one repeat.

    Attributes:
        session: position in `Record.sessions` of the process that measured it.
        total_seconds: wall time of the call divided by its batch size, as the harness measured it.
        stage_seconds: by stage; the total minus their sum is `untracked`.
        usage: the non-zero counts of `rerankers.Usage`; `parts` has stages and usage of each part of a fusion
            or cascade, in the order in which `described` lists them.
        ranking: first 16 hex digits of the sha256 of the ranking's lines in `ranking.trec`.
        control_seconds: what the identity control took right after this call, if it ran then.
        arrived_seconds: in served mode, when the request arrived, counted from the start of its repeat in its
            session; the total then runs from there to the answer.
        queued_seconds: what of the total passed before the request was taken.
    """

    query_id: str
    repeat: int = Field(ge=0)
    session: int = Field(ge=0)
    total_seconds: float = Field(ge=0, allow_inf_nan=False)
    stage_seconds: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]
    usage: dict[str, Any]
    ranking: str
    control_seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    arrived_seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    queued_seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)

    def line(self) -> bytes:
        """Return the value as it stands in the file."""
        optional = ("control_seconds", "arrived_seconds", "queued_seconds")
        without = {name for name in optional if getattr(self, name) is None}
        return self.model_dump_json(exclude=without).encode() + b"\n"


def requests_per_second(rows: Sequence[QueryRow]) -> float | None:
    """Return the requests answered per second of busy time, over sessions and repeats.

    None where nothing was served.
    """
    spans: dict[tuple[int, int], tuple[float, float]] = {}
    for row in rows:
        if row.arrived_seconds is not None:
            ends = row.arrived_seconds, row.arrived_seconds + row.total_seconds
            start, end = spans.get((row.session, row.repeat), ends)
            spans[row.session, row.repeat] = min(start, ends[0]), max(end, ends[1])
    seconds = sum(end - start for start, end in spans.values())
    return len(rows) / seconds if seconds else None
