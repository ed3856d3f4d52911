"""Takes in others' TREC runs, so that published systems stand beside ours, on the same candidates.

An imported cell has rankings and no measurements: its latency is unknown, not zero. A run that ranks a
passage which is not among the candidates answered another question, and is refused.

Published figures come from trec_eval, which reads scores in 32 bits, ignores the rank column and puts equal
scores in descending order of document id. Runs are imported in that order, which gives those figures again.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from benchmarks.candidates import Pool, load_pool
from benchmarks.cell import write_imported
from benchmarks.lock import FolderLock
from benchmarks.measures import DEFAULT_MEASURES, parse
from benchmarks.plan import slug
from benchmarks.readers import read_qrels, read_run
from benchmarks.record import Protocol, Record, System
from benchmarks.store import list_cells
from benchmarks.trec import trec_lines
from rerankers.errors import InputError
from rerankers.interface import Candidate, Ranking, Usage, strictly_decreasing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Run = dict[str, list[tuple[str, float]]]


def pool_of(first_stage: Path, qrels: Path, dataset: str) -> Pool:
    """Candidates as a first stage's run lists them, for the judged queries; texts are unknown.

    Raises:
        InputError: a file is missing or wrong.
    """
    grades = read_qrels(qrels)
    run = read_run(first_stage)
    found = {
        query_id: [Candidate(query_id, doc_id, "", score) for doc_id, score in run.get(query_id, ())]
        for query_id in grades
    }
    return Pool.freeze(
        dataset=dataset,
        first_stage={"kind": "run", "name": _stem(first_stage), "sha256": _sha256(first_stage)},
        depth=max((len(hits) for hits in found.values()), default=0),
        queries=dict.fromkeys(grades, ""),
        qrels=grades,
        candidates=found,
        unjudged=len(run.keys() - grades.keys()),
    )


def import_runs(
    folder: Path, pool: Pool, runs: Mapping[str, Path], measures: Sequence[str] = DEFAULT_MEASURES
) -> list[str]:
    """Add runs to a result folder, by label, and the first stage they started from.

    Returns:
        the names of the cells, the first stage's first.

    Raises:
        InputError: a run is wrong, or does not rank the pool's candidates; nothing is written then.
        StoreError: the folder is in use or cannot be written.
    """
    for measure in measures:
        parse(measure)
    given: Run = {
        query_id: [(candidate.doc_id, candidate.score) for candidate in candidates]
        for query_id, candidates in pool.candidates.items()
    }
    cells = [_cell(pool, "first stage", "first-stage", given, pool.digest, measures)]
    for label, path in runs.items():
        run = read_run(path)
        _check(run, pool, path)
        cells.append(_cell(pool, label, "imported", run, _sha256(path), measures))
    with FolderLock(folder):
        pool.save(folder / "pools", store_text=False)
        for record, ranking in cells:
            write_imported(folder / record.cell, record, ranking)
        names = [record.cell for record, _ in cells]
        list_cells(folder, names)
    return names


def stored_pool(folder: Path, digest: str) -> Pool:
    """A pool that a result folder holds already, to import runs beside our own.

    Raises:
        InputError: there is none of that digest.
    """
    pools = [path.parent.name for path in sorted(folder.glob("pools/*/pool.jsonl.gz"))]
    matching = [name for name in pools if name.startswith(digest)]
    if len(matching) != 1:
        raise InputError(f"{folder}: no one pool {digest!r}; there are {', '.join(pools) or 'none'}")
    return load_pool(folder / "pools" / matching[0])


def _cell(
    pool: Pool, label: str, reranker: str, run: Run, source: str, measures: Sequence[str]
) -> tuple[Record, bytes]:
    digest = hashlib.sha256(f"{pool.digest} {source}".encode()).hexdigest()[:8]
    name = f"{slug(f'{pool.dataset}-{label}')}-{digest}"
    described: dict[str, Any] = {"imported": source}
    ranked = {query_id: hits for query_id, hits in run.items() if query_id in pool.queries}
    if any(len(ranked.get(query_id, ())) < len(hits) for query_id, hits in pool.candidates.items()):
        described["notice"] = "the run leaves candidates unranked"
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
    if not run.keys() & pool.queries.keys():
        raise InputError.at(path, None, f"ranks none of the queries of {pool.dataset}; is it another's run?")
    for query_id, hits in run.items():
        known = {candidate.doc_id for candidate in pool.candidates.get(query_id, ())}
        for doc_id, _ in hits:
            if query_id in pool.queries and doc_id not in known:
                reason = f"query {query_id!r} ranks {doc_id!r}, which is not among the candidates"
                raise InputError.at(path, None, f"{reason}; import it with its own first stage")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def label_of(run: Path, first_stage: Path | None) -> str:
    """What a run is called unless told otherwise: its file, without the first stage that it starts with."""
    return _stem(run).removeprefix(f"{_stem(first_stage)}_" if first_stage else "")


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".trec").removesuffix(".txt")
