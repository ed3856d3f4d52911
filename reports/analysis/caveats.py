"""The caveats that a report prints beside a table: what to know before its rows are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from benchmarks.evaluation.judged import unjudged_warning
from benchmarks.measuring.hardware import hardware
from reports.analysis.provenance import is_dirty
from reports.formats.numbers import fixed, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.candidates.frozen import Pool
    from benchmarks.results.record import Record
    from benchmarks.results.store import CellResult, Results
    from reports.analysis.values import Group, SystemResult

BUSY = 1.25
"""Load average a thread from which programs wait for each other; a system that uses every thread makes 1."""


def within(cells: Sequence[CellResult], systems: Sequence[SystemResult], pool: Pool) -> tuple[str, ...]:
    """Return the caveats of one group, as sentences.

    They name systems that failed or are unfinished, missing rankings, differing machines and conditions, and
    passages that were excluded or not judged.

    Args:
        cells: the cells of the group.
        systems: the numbers of its systems.
        pool: its candidate set.
    """
    caveats: list[str] = []
    if pool.queries and not pool.qrels:
        caveats.append("The queries are not judged: no measure can be computed.")
    if pool.unjudged:
        caveats.append(f"Left out: {queries(pool.unjudged)} of the dataset that nobody judged.")
    caveats += excluded(pool)
    caveats += map(str, pool.first_stage.get("warnings", ()))  # of the dataset, when it was read
    unjudged = unjudged_warning(pool)
    caveats += [] if unjudged is None else [unjudged]
    for system in systems:
        caveats += about_status(system, pool)
        caveats += where_measured(system) if system.role == "reranker" else []
        if system.provenance.slowed_by:
            caveats.append(
                f"{system.label} was measured while the GPU ran slower than it could "
                f"({', '.join(system.provenance.slowed_by)})."
            )
        caveats += about_calls(system)
        caveats += unread(system)
        caveats += about_scores(system)
    caveats += drift(cells)
    machines = dict.fromkeys(machine for system in systems for machine in system.provenance.hardware)
    if len(machines) > 1:
        caveats.append(
            f"Latencies come from different hardware ({'; '.join(machines)}): "
            "do not compare them across systems."
        )
    caveats += unlike_conditions(cells)
    caveats += lone_seeds(cells)
    empty = sum(not count for count in pool.candidates.counts.values())
    if empty:
        caveats.append(f"The first stage found nothing for {queries(empty)}; each counts 0 for every system.")
    return tuple(caveats)


def about_status(system: SystemResult, pool: Pool) -> list[str]:
    """Return caveats about a system that failed, is unfinished, damaged or unstable, or left queries out."""
    caveats: list[str] = []
    if system.status == "failed":
        caveats.append(f"{system.label} failed: {system.error or 'no reason was recorded'}")
    elif system.status == "running":
        caveats.append(
            f"{system.label} is unfinished ({system.measured_queries} of {len(pool.queries)} queries): "
            "its numbers are left out. Run the experiment again to finish it."
        )
    elif system.status == "damaged":
        caveats.append(f"{system.label} is damaged: {system.error or ''}. Its numbers are left out.")
    unranked = sum(
        pool.candidates.counts[query_id] > 0 and not system.quality.tops.get(query_id)
        for query_id in pool.qrels
    )
    if unranked and system.status == "done":
        caveats.append(f"{system.label} has no ranking for {queries(unranked)}; each counts 0.")
    if system.quality.unstable:
        caveats.append(
            f"{system.label} ranked {queries(system.quality.unstable)} differently in another repeat; "
            "the first repeat is evaluated."
        )
    return caveats


def where_measured(system: SystemResult) -> list[str]:
    """Return warnings about a system measured on several machines, or beside other programs."""
    caveats = []
    if len(system.provenance.hardware) > 1:
        caveats.append(
            f"{system.label} was measured on different machines: its latencies and their percentiles mix "
            f"{' and '.join(system.provenance.hardware)}."
        )
    elif len(system.provenance.hosts) > 1:
        caveats.append(
            f"{system.label} was measured on {len(system.provenance.hosts)} machines of one kind (hosts "
            f"{', '.join(system.provenance.hosts)}): its latencies and their percentiles mix them."
        )
    if system.provenance.co_runners:
        caveats.append(
            f"{system.label} was measured while others ran on the same machine "
            f"({', '.join(system.provenance.co_runners)}): its latencies may include waiting for them."
        )
    if system.timing.latency and system.timing.load is not None and system.timing.load > BUSY:
        caveats.append(
            f"{system.label} was measured at a load average of {fixed(system.timing.load, 1)} a thread: "
            "other programs ran on the machine, and its latencies include waiting for them."
        )
    return caveats


def excluded(pool: Pool) -> list[str]:
    """Return a sentence with the number of passages that an exclusion rule took out of the candidate set.

    Return an empty list where no rule did.
    """
    counts = pool.first_stage.get("excluded")
    if not isinstance(counts, Mapping):
        return []
    passages = counts.get("candidates", 0)
    sentence = (
        f"Excluded from the candidates by the rule {counts.get('rule')!r}: {passages} "
        f"passage{'s' * (passages != 1)} of {queries(counts.get('queries', 0))}"
    )
    relevant = counts.get("relevant", 0)
    return [f"{sentence}, {relevant} of them judged relevant." if relevant else f"{sentence}."]


def unlike_conditions(cells: Sequence[CellResult]) -> list[str]:
    """Return a warning for each measuring condition, such as dtype or threads, in which the cells differ."""
    by_condition: dict[str, dict[str, None]] = {}
    for cell in cells:
        if cell.rows:
            for what, how in _conditions(cell.record):
                by_condition.setdefault(what, {})[how] = None
    return [
        f"Systems were measured {what} ({', '.join(values)})."
        for what, values in by_condition.items()
        if len(values) > 1
    ]


def _conditions(record: Record) -> Iterator[tuple[str, str]]:
    """Yield (condition, value) of a cell's record, such as ("with different batch sizes", "batch size 8").

    The words fit into "Systems were measured ...".
    """
    protocol = record.protocol
    if protocol.mode != "latency":
        yield "with different batch sizes", f"batch size {protocol.batch_size}"
    if protocol.served is not None:
        yield "under different load", protocol.served.load
    yield (
        "in turn only in part",
        "query by query in turn" if protocol.interleave else "one system after the other",
    )
    described = [session.described for session in record.sessions if session.described]
    for component in described or [record.system.described]:
        if dtypes := sorted({*_dtypes(component)}):
            yield "in different dtypes", " and ".join(dtypes)
    for session in record.sessions:
        threads = session.environment.get("threads", {}).get("pinned")
        if threads and not session.environment.get("gpu"):
            yield "on different numbers of threads", str(threads)


def _dtypes(described: object) -> Iterator[str]:
    """Yield the dtype of every model in a description: of a reranker, its encoder and its components."""
    if isinstance(described, Mapping):
        for name, value in described.items():
            if name == "dtype":
                yield str(value).removeprefix("torch.")
            elif name != "training":  # how a checkpoint came about
                yield from _dtypes(value)
    elif isinstance(described, list | tuple):
        for value in described:
            yield from _dtypes(value)


def lone_seeds(cells: Sequence[CellResult]) -> list[str]:
    """Return a warning for each system that draws at random and was run with a single seed."""
    labels: dict[str, list[str]] = {}
    for cell in cells:
        system, options = cell.record.system, cell.record.system.options
        is_random = options.get("initial_order") == "shuffled" or (options.get("temperature") or 0) > 0
        if is_random and not cell.record.is_imported:
            others = sorted((name, str(value)) for name, value in options.items() if name != "seed")
            labels.setdefault(f"{system.reranker} {others}", []).append(system.label)
    return [
        f"{label} draws at random and was run with one seed: how far it strays is not known."
        for (label, *more) in labels.values()
        if not more
    ]


def about_calls(system: SystemResult) -> list[str]:
    """Return warnings about a system's LLM calls that came from a cache, or whose tokens are estimates."""
    calls = system.work.counts.get("llm_calls")
    sentences = {
        "calls_replayed": "calls were answered from a recording, in the time they took when it was made",
        "calls_estimated": "calls have tokens that are an estimate, for their answers came without a count",
    }
    counts = {name: system.work.counts.get(name, 0.0) for name in sentences}
    return [
        f"{system.label}: {percent(counts[name] / calls)} of its {meaning}."
        for name, meaning in sentences.items()
        if calls and counts[name]
    ]


def unread(system: SystemResult) -> list[str]:
    """Return a warning if no model output of a system had the form that was asked for.

    A model that only thought until its budget was used up is made to answer, so its scores are results; the
    warning then says so.
    """
    counts = system.work.counts
    if not counts.get("llm_calls") or "well_formed" in counts:
        return []
    if not 0 < system.measured_queries == system.work.faulty_queries:
        return []
    only_thought = 0 < counts.get("generated_tokens", 0) == counts.get("reasoning_tokens")
    if only_thought and set(system.work.faults) == {"cut_off"}:
        return [
            f"{system.label}: not one of its thoughts ended within its budget. Its answers were forced there."
        ]
    return [
        f"{system.label}: not one of its answers was as asked for. Its ranking is the order it was "
        "given, repaired, and not a result."
    ]


def about_scores(system: SystemResult) -> list[str]:
    """Return warnings about ties that the first stage broke, and about scores that change in a batch."""
    caveats = []
    if system.quality.tied_queries:
        caveats.append(
            f"{system.label}: {queries(system.quality.tied_queries)} of {system.measured_queries} tie within "
            "the first ten ranks, in half precision or because texts are equal. The first stage decides "
            "there."
        )
    checked = system.provenance.described.get("batch_invariance")
    if checked and not checked["same_order"]:
        caveats.append(
            f"{system.label} orders {checked['passages']} passages differently alone and in a batch: scores "
            f"differ by up to {checked['largest_difference']:.2g}, within a range of "
            f"{checked['score_range']:.3g}."
        )
    return caveats


def drift(cells: Sequence[CellResult]) -> list[str]:
    """Return a warning for each cell whose endpoint ran more than one version of its model."""
    caveats = []
    for record in (cell.record for cell in cells):
        for name in ("served_models", "system_fingerprints"):
            seen = {version for session in record.sessions for version in session.described.get(name, ())}
            if len(seen) > 1:
                caveats.append(
                    f"{record.system.label} was answered by {len(seen)} versions of its model "
                    f"({', '.join(sorted(seen))}): its rankings mix them."
                )
                break
    return caveats


def across(results: Sequence[Results], groups: Sequence[Group]) -> tuple[str, ...]:
    """Return the caveats of a whole report, as sentences.

    They name folders measured from uncommitted code, groups that differ in nothing but their candidate set,
    and systems that were measured differently from table to table.

    Args:
        results: the result folders.
        groups: all groups of the report.
    """
    caveats = [
        f"{folder.folder.name} was measured from a checkout with uncommitted changes."
        for folder in results
        if is_dirty(folder)
    ]
    pools: dict[tuple[str, str, int, str], set[str]] = {}
    for group in groups:
        pools.setdefault((group.dataset, group.first_stage, group.depth, group.mode), set()).add(
            group.pool.digest
        )
    for (dataset, first_stage, depth, _), digests in pools.items():
        if len(digests) > 1:
            caveats.append(
                f"{dataset}, {first_stage} top {depth} appears with {len(digests)} different candidate pools "
                f"({', '.join(sorted(digests))}): their systems stand in separate tables."
            )
    return (*caveats, *unlike_tables([cell for folder in results for cell in folder.cells]))


def unlike_tables(cells: Sequence[CellResult]) -> list[str]:
    """Return warnings about systems whose hardware, code or conditions differ between candidate sets.

    Curves over several tables compare such measurements.
    """
    seen: dict[tuple[str, str, str], dict[str, dict[str, None]]] = {}
    for record in (cell.record for cell in cells if cell.rows):
        machines = [("on different hardware", hardware(session.environment)) for session in record.sessions]
        code = record.system.described.get("code")
        ran = [("with different code", str(code))] if code else []
        for what, how in [*machines, *ran, *_conditions(record)]:
            pools = seen.setdefault((record.protocol.mode, record.system.label, what), {})
            pools.setdefault(record.pool, {})[how] = None
    by_values: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (_, label, what), pools in seen.items():
        if len({frozenset(hows) for hows in pools.values()}) > 1:
            values = tuple(dict.fromkeys(how for hows in pools.values() for how in hows))
            by_values.setdefault((what, values), []).append(label)
    return [
        f"From table to table, {', '.join(dict.fromkeys(labels))} ran {what} ({'; '.join(values)})."
        for (what, values), labels in by_values.items()
    ]


def queries(count: int) -> str:
    """Format a number of queries: `1 query`, `2 queries`."""
    return f"{count} {'query' if count == 1 else 'queries'}"
