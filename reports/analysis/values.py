"""The frozen values of a report, already final, so that templates and writers do no arithmetic.

`reports.analysis.context` fills them from result folders. Times are in seconds here; columns choose units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.candidates.frozen import Pool
    from benchmarks.evaluation.agreement import Agreement
    from benchmarks.results.judgements import JudgementFile
    from benchmarks.results.record import SuiteMember
    from reports.analysis.comparisons.by_query import ByQuery, RanksByQuery
    from reports.analysis.estimates import Comparison, Estimate

Role = Literal["reranker", "part", "first_stage", "control", "published"]
Sentence = tuple[str, ...]  # plain and emphasised parts by turns, plain first


@dataclass(frozen=True, slots=True)
class Latency:
    """The seconds per query over every measured call of a system, repeats included.

    Attributes:
        calls: number of measured calls.
        p50: the median, with its interval; `p95`, `p99` and `mean` likewise.
        quantiles: seconds at 5, 25, 50, 75, 95 and 99 per cent, by name such as `p5`.
    """

    calls: int
    p50: Estimate
    p95: Estimate
    p99: Estimate
    mean: Estimate
    quantiles: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage's mean seconds per query, and its share of the mean total, 0 to 1."""

    name: str
    seconds: float
    share: float


@dataclass(frozen=True, slots=True)
class StageOperations:
    """The operations of one stage, which do not depend on the hardware, as means per query.

    Attributes:
        flops: floating-point operations; a multiplication and an addition are two.
        bytes: bytes read and written, with nothing fused or cached.
        utilisation: share of the GPU's published peak; None on a CPU, or on a GPU without a published peak.
    """

    name: str
    flops: float
    bytes: float
    utilisation: float | None


@dataclass(frozen=True, slots=True)
class Part:
    """A component of a fusion or a cascade with its stages, whose shares are of the whole system's time."""

    name: str
    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class Quality:
    """The quality of a system's rankings; all mappings are empty where no query is judged.

    Attributes:
        estimates: by measure, the mean over the judged queries with its interval.
        spread: by measure, the standard deviation over replicates; empty without replicates.
        against: by measure, the comparison with the group's baseline.
        per_query: by measure, the value by query id; for replicates their mean.
        tops: by query id, the head of the ranking as 0-based ranks of the first stage.
        by_depth: by depth, the headline measure had only so many candidates been reranked; for imported runs
            only.
        tied_queries: number of queries in whose first repeat one of the first ten ranks ties with the next
            rank.
        unstable: number of queries that a later repeat ranked differently.
    """

    estimates: Mapping[str, Estimate]
    spread: Mapping[str, float]
    against: Mapping[str, Comparison]
    per_query: Mapping[str, ByQuery]
    tops: RanksByQuery
    by_depth: Mapping[int, float]
    tied_queries: int
    unstable: int


@dataclass(frozen=True, slots=True)
class ServedLoad:
    """The load at which a system was served, and whether it kept its SLO.

    Attributes:
        system: the system's label without the load.
        rate: requests a second of an open loop; None for a closed loop.
        clients: number of clients of a closed loop, each of which sends a request once its last one is
            answered; None for an open loop.
        arrivals: the arrivals in words.
        slo: the SLO, such as `p95 < 0.5 s`; "" without one.
        slo_seconds: the SLO's bound on latency; None without one.
        percentile_seconds: the measured percentile of latency that the SLO names; None without one.
        is_kept: whether the SLO was kept, and the system kept up; None without one.
    """

    system: str
    rate: float | None
    clients: int | None
    arrivals: str
    slo: str
    slo_seconds: float | None
    percentile_seconds: float | None
    is_kept: bool | None


@dataclass(frozen=True, slots=True)
class Timing:
    """The latency of a system, by stage.

    Attributes:
        latency: quantiles and mean; None where the system was not timed.
        speedup: the p50 of the group's `reference` divided by this one; for rerankers only.
        stages: mean seconds per query, in the order of the vocabulary.
        parts: the rerankers inside a fusion or a cascade, in order; the system's own stages are their sums.
        query_seconds: mean seconds over repeats, by query id.
        noise: p95 over median, less one, of the identity control that ran alongside; None without one.
        is_amortised: whether seconds are those of a batch divided by its queries, which nothing may call
            latency.
        load: mean load average over the threads that the process may use, while it measured; None where it
            was not recorded.
        served: the load in served mode; None in other modes.
    """

    latency: Latency | None
    speedup: Estimate | None
    stages: tuple[Stage, ...]
    parts: tuple[Part, ...]
    query_seconds: Mapping[str, float]
    noise: float | None
    is_amortised: bool
    load: float | None
    served: ServedLoad | None


@dataclass(frozen=True, slots=True)
class Work:
    """The work of a system per query: tokens, calls, memory, energy and dollars.

    Attributes:
        counts: means per query by name: windows, calls, tokens, dollars, joules, FLOPs, bytes.
        operations: FLOPs, bytes and utilisation by stage.
        faults: output faults by kind, summed over the first repeat.
        faulty_queries: number of queries with at least one fault.
        longest_prompt: largest value over queries of the mean tokens per prompt; None where prompts were not
            counted.
    """

    counts: Mapping[str, float]
    operations: tuple[StageOperations, ...]
    faults: Mapping[str, int]
    faulty_queries: int
    longest_prompt: float | None


@dataclass(frozen=True, slots=True)
class Provenance:
    """The origin of a system's results: configuration, machines, and when they were measured.

    Attributes:
        cell: name of the system's first cell.
        folder: name of the result folder.
        options: options as the experiment gives them; for replicates without the seed.
        described: models, revisions and the like, as the reranker describes itself.
        hardware: one line for each kind of machine that measured the system.
        hosts: digests of the names of the machines that measured it.
        co_runners: labels of systems that ran on one of them at the same time.
        slowed_by: reasons why GPUs ran slower than they could.
        started_at: when the first process began, ISO 8601 in UTC; "" where nothing was measured.
        load_seconds: longest time that loading the system took; None where nothing was measured.
        peak_device_bytes: largest peak of GPU memory; None where no GPU was used.
        host_bytes: largest peak of resident memory above that before the system loaded.
    """

    cell: str
    folder: str
    options: Mapping[str, Any]
    described: Mapping[str, Any]
    hardware: tuple[str, ...]
    hosts: tuple[str, ...]
    co_runners: tuple[str, ...]
    slowed_by: tuple[str, ...]
    started_at: str
    load_seconds: float | None
    peak_device_bytes: int | None
    host_bytes: int | None


@dataclass(frozen=True, slots=True)
class SystemResult:
    """The numbers of one system of a group: of one cell, or of one for each of several seeds.

    Attributes:
        place: position in the folders, so that the experiment's order can be kept.
        label: name that is unique in the group; `name` is the experiment's own, which several folders may
            share.
        role: `control` for oracle, random and reverse; they are shown, and never best.
        notice: a footnote for its rows; None without one.
        replicates: number of seeds.
        measured_queries: number of measured queries, summed over all seeds.
    """

    place: int
    label: str
    name: str
    reranker: str
    role: Role
    status: str
    error: str | None
    notice: str | None
    replicates: int
    measured_queries: int
    quality: Quality
    timing: Timing
    work: Work
    provenance: Provenance

    @property
    def is_precomputed(self) -> bool:
        """True if passage embeddings were computed beforehand, so that no latency includes them."""
        return "precomputed" in _settings(self.provenance.described, "embeddings")


def _settings(described: object, name: str) -> Iterator[str]:
    """Yield every text under the key `name` in a description, of the system and of its components."""
    if isinstance(described, Mapping):
        for key, value in described.items():
            if key == name and isinstance(value, str):
                yield value
            else:
                yield from _settings(value, name)
    elif isinstance(described, list | tuple):
        for value in described:
            yield from _settings(value, name)


@dataclass(frozen=True, slots=True)
class Judge:
    """A model or a file that grades passages of one group, and the systems' values by its grades.

    Attributes:
        label: name of the model or of the file.
        file: the file that the grades come from; None for a model's.
        prompt: name and source of the model's prompt template.
        graded: number of passages that have a grade.
        filled: number of passages that only the model judged.
        faults: number of model outputs without a grade.
        depth: ranks of each system whose passages were judged.
        queries: number of queries that the values are averaged over.
        scale: the grades that the judge can give, or those of its file.
        agreement: agreement with the dataset's judgements; None where no passage has both.
        estimates: means by label and measure: by a file's grades alone, or by the dataset's with a model's in
            their holes.
        against: by label and measure, the comparison with the group's baseline.
    """

    label: str
    file: JudgementFile | None
    prompt: str
    graded: int
    filled: int
    faults: int
    depth: int
    queries: int
    scale: tuple[int, ...]
    agreement: Agreement | None
    estimates: Mapping[str, Mapping[str, Estimate]]
    against: Mapping[str, Mapping[str, Comparison]]


@dataclass(frozen=True, slots=True)
class Group:
    """Systems that may stand in one table, because they share the candidate set and the measuring mode.

    Attributes:
        systems: best headline measure first; controls after them; failed cells last.
        baseline: label that differences and tests refer to; None where nothing can be compared.
        reference: label that speed-ups refer to, by default the slowest; None without latencies.
        before: mean seconds per query of `retrieve` and `fetch`; all systems share them, no latency has them.
        warnings: caveats to read before comparing rows.
        findings: the summary, most important sentence first.
        suite: the suite that the experiment named the dataset by; None for a dataset that was named alone.
        judges: models and files whose judgements stand beside those of the candidate set.
    """

    key: str
    title: str
    dataset: str
    first_stage: str
    depth: int
    mode: str
    pool: Pool
    measures: tuple[str, ...]
    systems: tuple[SystemResult, ...]
    baseline: str | None
    reference: str | None
    before: tuple[Stage, ...]
    warnings: tuple[str, ...]
    findings: tuple[Sentence, ...]
    suite: SuiteMember | None = None
    judges: tuple[Judge, ...] = ()

    @property
    def headline(self) -> str:
        """The name of the first measure, which orders the table and enters the tests."""
        return self.measures[0]

    @property
    def hardware(self) -> str:
        """The machine that measured all latencies; "" without latencies, or where there were several."""
        machines = {
            machine
            for system in self.systems
            if system.timing.latency
            for machine in system.provenance.hardware
        }
        return machines.pop() if len(machines) == 1 else ""

    @property
    def is_retrieval_timed(self) -> bool:
        """True if the time that the first stage took per query was measured."""
        return bool(self.pool.retrieve_seconds)

    def system(self, label: str) -> SystemResult:
        """Return the system with that label."""
        return next(system for system in self.systems if system.label == label)


@dataclass(frozen=True, slots=True)
class Experiment:
    """The provenance of one result folder, for the report's appendix.

    Attributes:
        folder: name of the folder.
        name: name of the experiment.
        measured: the day, or the first and last day, of measuring; "" without sessions.
        config: the experiment's configuration as YAML; "" where it is not stored.
        environments: the different environments of its sessions, text by dotted name.
        method: sentences on how it was measured.
    """

    folder: str
    name: str
    measured: str
    config: str
    environments: tuple[Mapping[str, str], ...]
    method: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that the pages, tables and figures of a report show.

    Attributes:
        title: the report's title.
        groups: one for each table.
        experiments: the provenance of each folder.
        warnings: caveats about the whole report.
        version: version of rerankbench.
    """

    title: str
    groups: tuple[Group, ...]
    experiments: tuple[Experiment, ...]
    warnings: tuple[str, ...]
    version: str
