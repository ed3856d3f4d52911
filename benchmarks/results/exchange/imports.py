"""Imports TREC runs of other programs, so that published systems stand beside ours on the same candidates.

An imported cell has rankings and no measurements: its latency is unknown, not zero. A run that ranks a
passage which is not among the candidates is refused.

Published figures come from trec_eval, whose order of equal scores (`benchmarks.evaluation.ties`) every run
keeps, which gives those figures again. The number of passages that share a score, and of queries that the
dataset lacks, is printed and recorded.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.candidates.frozen import Pool
from benchmarks.candidates.pool_folder import frozen_qrels, load_pool, save_pool
from benchmarks.datasets.exclusion import (
    NONE,
    default_rule,
    excluded_again,
    excluded_passages,
    leave_out,
    suspicions,
)
from benchmarks.datasets.readers import read_qrels, read_run, run_name
from benchmarks.evaluation.judged import unjudged_warning
from benchmarks.evaluation.measures import DEFAULT_MEASURES, parse
from benchmarks.experiments.plan import slug
from benchmarks.measuring.progress import say
from benchmarks.results.cell_record import readable_record, write_imported
from benchmarks.results.exchange.ir_metadata import exported_label
from benchmarks.results.exchange.trec import trec_lines
from benchmarks.results.record import Protocol, Record, System
from benchmarks.results.run_counts import RunCounts, check_queries, say_counts
from benchmarks.results.store import list_cells
from rerankers.errors import InputError
from rerankers.files.folder_lock import FolderLock
from rerankers.files.paths import existing_path, input_path, user_path
from rerankers.interface import Candidate, Ranking, Usage, strictly_decreasing
from rerankers.registry import role_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Run = dict[str, list[tuple[str, float]]]


FIRST_STAGE = "first stage"
"""The label of the cell that keeps the order of the candidate set."""


def labelled_runs(arguments: Sequence[str], first_stage: Path | None) -> dict[str, Path]:
    """Parse `RUN` and `LABEL=RUN` arguments into run paths by label.

    An argument that is the path of a file is a path, even with `=` in it. In others the first `=` ends the
    label.

    Raises:
        InputError: a label is empty or used twice.
    """
    runs: dict[str, Path] = {}
    for argument in arguments:
        label, equals, rest = argument.partition("=")
        path = existing_path(argument)
        if path is not None or not equals:
            path = path or user_path(input_path(argument))
            label = label_of(path, first_stage)
        else:
            path = user_path(input_path(rest))
        if not label:
            raise InputError(f"{argument}: the label is empty. Write LABEL=RUN.")
        if label in runs or label == FIRST_STAGE:
            other = runs.get(label, first_stage) or "the candidate set"
            raise InputError(
                f"{argument}: the label {label!r} is that of {other} too. Give another one: LABEL=RUN."
            )
        runs[label] = path
    return runs


def pool_of(first_stage: Path, qrels: Path, dataset: str, exclude: str | None = None) -> Pool:
    """Build a candidate set, without texts, from a first stage's run over the judged queries.

    Warnings and counts of the run are printed.

    Args:
        first_stage: a TREC run.
        qrels: a file of judgements.
        dataset: the dataset's name in tables; that of a known dataset selects its exclusion rule.
        exclude: an exclusion rule of `benchmarks.datasets.exclusion`.

    Raises:
        InputError: a file is missing or wrong.
    """
    grades = read_qrels(qrels)
    digest = hashlib.sha256()
    run = read_run(first_stage, digest)
    check_queries(first_stage, run, grades)
    rule = exclude or default_rule(dataset, None) or default_rule(None, Path(dataset))
    judged = {query_id: run.get(query_id, []) for query_id in grades}
    depth = max(map(len, judged.values()), default=0)
    hits, left_out = leave_out(judged, excluded_passages(rule, grades, grades), grades, depth)
    candidates = {
        query_id: [Candidate(query_id, doc_id, "", score) for doc_id, score in ranked]
        for query_id, ranked in hits.items()
    }
    warnings = [] if rule else suspicions(((q, [d for d, _ in ranked]) for q, ranked in hits.items()), grades)
    counts = RunCounts.of(run, grades)
    say_counts(first_stage, counts)
    pool = Pool.freeze(
        dataset=dataset,
        first_stage={
            "kind": "run",
            "name": run_name(first_stage),
            "sha256": digest.hexdigest(),
            **counts.nonzero(),
            **({} if rule in (None, NONE) else {"excluded": {"rule": rule, **left_out}}),
            **({"warnings": warnings} if warnings else {}),
        },
        depth=max((len(hits) for hits in candidates.values()), default=0),
        queries=dict.fromkeys(grades, ""),
        qrels=grades,
        candidates=candidates,
        unjudged=counts.queries_left_out,
    )
    unjudged = unjudged_warning(pool)
    for warning in [*warnings, *([] if unjudged is None else [unjudged])]:
        say(f"{dataset}: {warning}")
    return pool


def import_runs(
    folder: Path, pool: Pool, runs: Mapping[str, Path], measures: Sequence[str] = DEFAULT_MEASURES
) -> list[str]:
    """Write a finished cell for each run, and one for the first stage's order, into a result folder.

    Args:
        folder: the result folder.
        pool: the candidate set that the runs rerank.
        runs: path of each TREC run, by label.
        measures: the measures to report, the headline first.

    Returns:
        the names of the cells, the first stage's first.

    Raises:
        InputError: a run is wrong, or does not rank the candidates of `pool`; nothing is written then.
        StoreError: the folder is in use or cannot be written.
    """
    for measure in measures:
        parse(measure)
    first_stage_run: Run = {
        query_id: [(candidate.doc_id, candidate.score) for candidate in candidates]
        for query_id, candidates in pool.candidates.items()
    }
    cells = [_cell(pool, FIRST_STAGE, "first-stage", first_stage_run, pool.digest, measures)]
    counts: dict[Path, RunCounts] = {}
    for label, path in runs.items():
        digest = hashlib.sha256()
        whole_run = read_run(path, digest)
        run, _ = leave_out(
            whole_run, excluded_again(pool.first_stage, pool.qrels), {}, max(map(len, whole_run.values()))
        )
        _check(run, pool, path)
        counts[path] = RunCounts.of(run, pool.queries)
        cells.append(_cell(pool, label, "imported", run, digest.hexdigest(), measures))
    _check_names([record for record, _ in cells], folder)
    for path, count in counts.items():
        say_counts(path, count)
    with FolderLock(folder):
        save_pool(pool, folder / "pools", store_text=False)
        for record, ranking in cells:
            write_imported(folder / record.cell, record, ranking)
        names = [record.cell for record, _ in cells]
        list_cells(folder, names)
    return names


def other_candidates(folder: Path, pool: Pool) -> str | None:
    """Return a hint if a folder has another candidate set with the same judged queries; else None.

    Runs on different candidate sets stand in different tables.
    """
    for path in sorted(folder.glob("pools/*/pool.jsonl.gz")):
        digest = path.parent.name
        if digest != pool.digest and pool.qrels and frozen_qrels(path.parent).keys() == pool.qrels.keys():
            return (
                f"{folder} holds other candidates of the same queries, so that these runs stand in another "
                f"table than its systems. If they rerank those candidates, import them with --pool {digest}."
            )
    return None


def stored_pool(folder: Path, digest: str) -> Pool:
    """Read the candidate set of a result folder whose digest starts with `digest`.

    Raises:
        InputError: no candidate set, or more than one, matches.
    """
    pools = [path.parent.name for path in sorted(folder.glob("pools/*/pool.jsonl.gz"))]
    matching = [name for name in pools if name.startswith(digest)]
    if len(matching) != 1:
        raise InputError(f"{folder}: no one pool {digest!r}; there are {', '.join(pools) or 'none'}")
    return load_pool(folder / "pools" / matching[0])


def _cell(
    pool: Pool, label: str, reranker: str, run: Run, source: str, measures: Sequence[str]
) -> tuple[Record, bytes]:
    """Return the record and the ranking lines of a cell for a run; `source` is the digest of its file."""
    digest = hashlib.sha256(f"{pool.digest} {source}".encode()).hexdigest()[:8]
    name = f"{slug(f'{pool.dataset}-{label}')}-{digest}"
    described: dict[str, Any] = {"imported": source}
    ranked = {query_id: hits for query_id, hits in run.items() if query_id in pool.queries}
    notices = [] if role_of(reranker) == "first stage" else RunCounts.of(run, pool.queries).sentences()
    if any(len(ranked.get(query_id, ())) < len(hits) for query_id, hits in pool.candidates.items()):
        notices.append("the run leaves candidates unranked")
    if notices:
        described["notice"] = "; ".join(notices)
    record = Record(
        cell=name,
        experiment="imported",
        status="done",
        is_imported=True,
        system=System(label=label, reranker=reranker, described=described),
        dataset=pool.dataset,
        first_stage=pool.first_stage,
        depth=pool.depth,
        pool=pool.digest,
        measures=tuple(measures),
        protocol=Protocol(),
    )
    lines = []
    for query_id, hits in ranked.items():
        doc_ids = tuple(doc_id for doc_id, _ in hits)
        scores = strictly_decreasing([score for _, score in hits])
        lines.append(trec_lines(Ranking(query_id, doc_ids, scores, {}, Usage()), name))
    return record, b"".join(lines)


def _check(run: Run, pool: Pool, path: Path) -> None:
    """Raise InputError if a run shares no query with the candidate set, or ranks a passage outside it."""
    check_queries(path, run, pool.queries)
    for query_id, hits in run.items():
        candidate_ids = {candidate.doc_id for candidate in pool.candidates.get(query_id, ())}
        for doc_id, _ in hits:
            if query_id in pool.queries and doc_id not in candidate_ids:
                reason = f"query {query_id!r} ranks {doc_id!r}, which is not among the candidates"
                raise InputError.at(path, None, f"{reason}; import it with its own first stage")


def _check_names(records: Sequence[Record], folder: Path) -> None:
    """Raise InputError if two cells have one name, or two runs on one candidate set have one label."""
    existing = [record for record in map(readable_record, sorted(folder.glob("*/"))) if record is not None]
    for position, record in enumerate(records):
        label = record.system.label
        for other in records[:position]:
            if other.cell == record.cell:
                raise InputError(
                    f"{label!r} and {other.system.label!r}: one run under two labels that give the folder "
                    f"name {record.cell}. Import it once."
                )
        for other in existing:
            same_set = other.is_imported and (other.pool, other.dataset) == (record.pool, record.dataset)
            if same_set and other.system.label == label and other.cell != record.cell:
                raise InputError(
                    f"{folder / other.cell}: another run is imported as {label!r} already. Give this one "
                    "another label: LABEL=RUN."
                )


def label_of(run: Path, first_stage: Path | None) -> str:
    """Return a run's default label.

    It is the label that the run was exported with, else its file's name without a leading name of the first
    stage.

    Raises:
        InputError: the metadata beside the run cannot be read.
    """
    label = exported_label(run)
    if label not in (None, FIRST_STAGE):
        return label
    return run_name(run).removeprefix(f"{run_name(first_stage)}_" if first_stage else "")
