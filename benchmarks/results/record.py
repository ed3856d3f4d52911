"""The schema of a cell's record in a result folder: frozen, versioned, raw.

A cell is one reranker on one candidate set. Its record holds everything but the per-query values, which are
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
"""`damaged` is never written: readers give it to a cell that does not match its seal."""
WarmupEnd = Literal["fixed", "stable", "maximum"]


class _Frozen(BaseModel):
    """The base of all models of a record: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class System(_Frozen):
    """A reranker as the experiment file names it, and its description once loaded.

    Attributes:
        label: the name that tables and charts print; unique within an experiment.
        reranker: the registered name.
        options: constructor options as given.
        described: `Reranker.describe()`: models, revisions, dtype, attention; a `notice` is printed under
            tables.
    """

    label: str
    reranker: str
    options: dict[str, Any] = {}
    described: dict[str, Any] = {}


class Slo(_Frozen):
    """A service-level objective: an upper bound on a percentile of latency under load, such as `p95 < 0.5 s`.

    Attributes:
        percentile: percentile over all requests, above 0 and below 100.
        seconds: upper bound of that percentile of latency, waiting included.
    """

    percentile: float = Field(gt=0, lt=100)
    seconds: float = Field(gt=0, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        """Parse an SLO written as `p95 < 0.5 s` or `p99 < 300 ms`; pass other values on."""
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"\s*p(\d+(?:\.\d+)?)\s*<\s*(\d+(?:\.\d+)?)\s*(ms|s)\s*", value)
        if match is None:
            raise ValueError("write it as p95 < 0.5 s or p99 < 300 ms")
        seconds = float(match[2]) / (1000 if match[3] == "ms" else 1)
        return {"percentile": float(match[1]), "seconds": seconds}

    def __str__(self) -> str:
        return f"p{self.percentile:g} < {self.seconds:g} s"


class Served(_Frozen):
    """The arrival process of mode `served`: see `benchmarks.measuring.served`.

    Attributes:
        rate: requests per second that arrive on their own; None for clients that wait for each response.
        arrivals: arrival times with a rate: `poisson` at random, or `fixed` at equal distances.
        concurrency: number of clients, each of which sends a request once its last one is answered; with a
            rate, the most requests that an endpoint gets at once, 64 by default.
        slo: bound that latency is compared with; it changes no measured number.
    """

    rate: float | None = Field(default=None, gt=0)
    arrivals: Literal["poisson", "fixed"] = "poisson"
    concurrency: int | None = Field(default=None, ge=1)
    slo: Slo | None = None

    @property
    def load(self) -> str:
        """The load in words, such as `5 requests a second, poisson` or `8 clients`."""
        if self.rate is not None:
            return f"{self.rate:g} requests a second, {self.arrivals}"
        return f"{self.concurrency} client{'s' * (self.concurrency != 1)}"

    @property
    def short(self) -> str:
        """The load in a few letters for labels, such as `5/s` or `8 clients`."""
        return f"{self.rate:g}/s" if self.rate is not None else self.load

    @model_validator(mode="after")
    def _something_arrives(self) -> Served:
        """Raise an error if neither a rate nor a concurrency is set."""
        if self.rate is None and self.concurrency is None:
            raise ValueError("say how requests arrive: rate, in requests a second, or concurrency")
        return self


class Protocol(_Frozen):
    """The measuring protocol of a session.

    Attributes:
        mode: `latency` measures one query at a time, `throughput` queries in batches, `served` queries as
            they arrive (see `served`).
        warmup: number of queries that are run before measuring and not counted; or `stable`: repeat the
            first query until its time is stable, see `benchmarks.measuring.protocol`.
        repeats: number of times that each query is measured.
        batch_size: requests per call; 1 in latency mode; in served mode the most that are taken at once.
        seed: seed of random numbers, combined with query and repeat: see `benchmarks.measuring.seeds`.
        threads: threads that torch, OpenMP and BLAS libraries may use; None for OMP_NUM_THREADS or, without
            it, the physical cores.
        interleave: measure the systems of a candidate set query by query in turn, so that a machine that
            slows down slows them all; they must fit into memory together.
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
        """Return the settings that define a result, by name; together they identify a cell.

        Settings that version 2 added are included only if they differ from their defaults, so that cells
        which were finished before stay finished. An SLO changes no number and is left out.
        """
        added = {"threads", "interleave", "own_process"}
        settings = self.model_dump(exclude={*added, "served"})
        settings |= self.model_dump(include=added, exclude_defaults=True)
        if self.served is not None:
            settings["served"] = self.served.model_dump(exclude={"slo"}, exclude_defaults=True)
        return settings

    @model_validator(mode="after")
    def _modes_are_not_mixed(self) -> Self:
        """Raise an error if the mode contradicts another setting, such as batches in latency mode."""
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
    """The place where a session ran, and the other systems that were measured there meanwhile.

    The number of threads is in `Session.environment`.

    Attributes:
        name: the executor.
        is_own_process: whether the process measured this cell alone.
        node: first 8 digits of Ray's id of the node; empty for the local executor. Two nodes may be processes
            of one machine, which has one `host` in the environment.
        gpus: number of GPUs that the session had to itself; None, unknown, for the local executor.
        co_runners: labels of the systems that the same run measured on that machine at the same time.
    """

    name: Literal["local", "ray"] = "local"
    node: str = ""
    gpus: int | None = None
    co_runners: tuple[str, ...] = ()
    is_own_process: bool = False


class Session(_Frozen):
    """One process that wrote into a cell: its machine, loading, warm-up, memory, energy and costs.

    A resumed cell has several.

    Attributes:
        started_at: ISO 8601, UTC.
        environment: git revision, library and driver versions, CPU, GPU, clocks;
            `benchmarks.measuring.environment`.
        load_seconds: time of constructing the reranker, weights included.
        warmup_seconds: total of each warm-up query, in order.
        warmup_ended: why the warm-up ended: its number of queries was `fixed`, times were `stable`, or the
            `maximum` number was reached.
        peak_device_bytes: largest GPU memory in use during this session; None without a GPU, or where
            systems were interleaved, whose memory cannot be told apart.
        peak_host_bytes: largest resident memory of the process during this session; None if interleaved.
        host_bytes_before: resident memory of the process right before the reranker loaded, which tables
            subtract from the peak; None if interleaved.
        device_joules: energy that the GPUs used during measuring, by their own counters; None without one, or
            where systems were interleaved.
        samples: the machine's state while it measured: `benchmarks.measuring.conditions`.
        dollars_paid: price of its endpoint calls, with warm-up, retries and components and without cached
            responses; None if no price is known, or nothing is paid.
        described: `Reranker.describe()` when the session ended: an endpoint may by then run another version.
        executor: where it ran; None if unrecorded.
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
        """Peak resident memory minus that before the reranker loaded, in bytes; None if one is unknown."""
        if self.peak_host_bytes is None or self.host_bytes_before is None:
            return None
        return max(0, self.peak_host_bytes - self.host_bytes_before)


class Operations(_Frozen):
    """Floating point operations and memory traffic of ranking some queries, counted in an untimed pass.

    Attributes:
        queries: number of queries ranked; 0 for an endpoint, whose operations cannot be counted.
        flops: floating point operations of all queries, by stage; a multiplication and an addition are two.
        bytes: bytes that the operators read and wrote, by stage, without fusion or caches.
    """

    queries: int
    flops: dict[str, int]
    bytes: dict[str, int]


class SuiteMember(_Frozen):
    """The place of a dataset in a suite of datasets.

    Attributes:
        name: name of the suite.
        title: name of the dataset within the suite.
        datasets: number of datasets in the suite.
        part_of: a larger dataset of which this one is a part; in averages its parts count as one.
    """

    name: str
    title: str
    datasets: int = Field(ge=1)
    part_of: str | None = None


class Record(_Frozen):
    """The content of a cell's `record.json`."""

    schema_version: int = SCHEMA_VERSION
    cell: str = Field(pattern=FOLDER_NAME)
    experiment: str
    status: Status
    error: str | None = None
    system: System
    dataset: str
    suite: SuiteMember | None = None
    """The suite through which the experiment names the dataset; None for a dataset named on its own."""
    first_stage: dict[str, Any]
    depth: int
    pool: str = Field(pattern=rf"{FOLDER_NAME}|^$")
    """Digest of the candidate set, the name of its folder under `pools/`."""
    measures: tuple[str, ...]
    """The experiment's measures, in ir_measures' names; the first is the headline."""
    protocol: Protocol
    sessions: tuple[Session, ...] = ()
    is_imported: bool = False
    """True if the rankings were imported: they have no measurements and no query rows."""
    operations: Operations | None = None
    """None unless the experiment file says `count_operations`."""
    seal: dict[str, str] | None = None
    """sha256 of `ranking.trec` and `queries.jsonl` once the cell is done; empty in older schemas."""


class QueryRow(_Frozen):
    """One line of `queries.jsonl`: times and usage of one query in one repeat.

    Attributes:
        session: position in `Record.sessions` of the process that measured it.
        total_seconds: wall time of the call divided by its batch size, as the harness measured it.
        stage_seconds: by stage; the total minus their sum is `untracked`.
        usage: the non-zero counts of `rerankers.Usage`; `parts` has stages and usage of each part of a fusion
            or cascade, in the order in which `described` lists them.
        ranking: first 16 hex digits of the sha256 of the ranking's lines in `ranking.trec`.
        control_seconds: time of the identity control right after this call; None if it did not run then.
        arrived_seconds: in served mode, when the request arrived, counted from the start of its repeat in its
            session; the total then runs from there to the response.
        queued_seconds: part of the total that passed before the request was taken.
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
        """Return the row as a line of JSON, without optional times that are None."""
        optional = ("control_seconds", "arrived_seconds", "queued_seconds")
        without = {name for name in optional if getattr(self, name) is None}
        return self.model_dump_json(exclude=without).encode() + b"\n"


def requests_per_second(rows: Sequence[QueryRow]) -> float | None:
    """Return served requests per second of busy time, over all sessions and repeats.

    None if none was served.
    """
    spans: dict[tuple[int, int], tuple[float, float]] = {}
    for row in rows:
        if row.arrived_seconds is not None:
            ends = row.arrived_seconds, row.arrived_seconds + row.total_seconds
            start, end = spans.get((row.session, row.repeat), ends)
            spans[row.session, row.repeat] = min(start, ends[0]), max(end, ends[1])
    seconds = sum(end - start for start, end in spans.values())
    return len(rows) / seconds if seconds else None
