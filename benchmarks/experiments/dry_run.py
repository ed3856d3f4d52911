"""The dry run: cells, models to fetch, time, memory and cost of a run before it starts.

Times, memory and dollars are those of the same system in the same result folder, measured by an earlier run
such as `--limit 3`, scaled to what is left. Where there is none, memory is at least the weights, and the time
stays unknown. Dollars are then estimated from the calls that the options say (`rerankers.work`) and the texts
at hand. They are those of every call that the run makes: repeats and warm-up count, and answers of an earlier
run that are taken over do not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from benchmarks.candidates.pool_folder import load_pool, read_index
from benchmarks.datasets.sources import open_dataset
from benchmarks.evaluation.measure_checks import check_measures
from benchmarks.experiments.downloads import Download, find_download
from benchmarks.experiments.plan import plan
from benchmarks.experiments.text_sizes import request_size
from benchmarks.first_stages.specs import Dense, components_of
from benchmarks.measuring.protocol import warmup_queries
from benchmarks.results.adoption import count_answers
from benchmarks.results.cell_lines import committed
from benchmarks.results.cell_record import check_seal, read_record
from rerankers.errors import DamagedError
from rerankers.registry import validated
from rerankers.text.quantities import duration, megabytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.experiments.config import Experiment
    from benchmarks.experiments.plan import CellPlan, PoolPlan
    from benchmarks.results.record import Record

STATES: dict[str | None, str] = {
    None: "to do",
    "done": "finished",
    "running": "unfinished",
    "failed": "failed, again",
    "damaged": "damaged",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """Time, memory and dollars of a system in an earlier run.

    Seconds and dollars are per query; `start_seconds` is loading and warm-up, `done` the number of rows.
    """

    query_seconds: float
    start_seconds: float
    memory_bytes: int | None
    query_dollars: float
    done: int


def describe_run(experiment: Experiment, folder: Path) -> Iterator[str]:
    """Yield the lines of a dry run: one per cell, one per model, and totals.

    Nothing is loaded, downloaded or written.
    """
    cells = plan(experiment)
    check_measures([cell.pool for cell in cells], folder, may_fetch=False)
    states = {cell.name: _state(folder / cell.name) for cell in cells}
    todo = [cell for cell in cells if states[cell.name] != STATES["done"]]
    counts = {id(cell.pool): _queries(cell.pool, folder) for cell in cells}
    seconds, dollars, unknown, models = 0.0, 0.0, 0, _first_stage_models(todo)
    for cell in cells:
        words = [f"{states[cell.name]:14}{cell.pool.name}", cell.label]
        if cell in todo:
            count = counts[id(cell.pool)]
            downloads = {name: find_download(name, revision) for name, revision in _models(cell).items()}
            models |= downloads
            cost, time_left, paid = _estimate(cell, folder, count, list(downloads.values()))
            words += cost
            unknown += time_left is None
            seconds += time_left or 0.0
            dollars += paid or 0.0
        if key := validated(cell.reranker, cell.options).missing_key:
            words.append(f"needs {key}, which is not set")
        yield "  ".join(words)
    for download in models.values():
        yield str(download)
    fetch = [download.size_bytes or 0 for download in models.values() if not download.is_here]
    total = [f"{len(todo)} of {len(cells)} cells to run, results in {folder}"]
    total += [f"{megabytes(sum(fetch))} to fetch"] if sum(fetch) else []
    total += [f"about {duration(seconds)}"] if seconds else []
    total += [f"about ${dollars:.2f}"] if dollars else []
    yield "; ".join(total)
    if unknown:
        yield f"the time of {unknown} is not known yet: --limit 3 measures it, then --dry-run tells"


def _state(cell: Path) -> str:
    """Return the state of a cell's folder in words, a value of `STATES`."""
    try:
        record = read_record(cell)
        if record is not None:
            check_seal(cell, record)
    except DamagedError:
        return STATES["damaged"]
    return STATES[record.status if record else None]


def _estimate(
    cell: CellPlan, folder: Path, count: int | None, models: list[Download]
) -> tuple[list[str], float | None, float | None]:
    """Return words for a cell's line, and the seconds and dollars that it still needs; None if unknown.

    Args:
        cell: the cell.
        folder: the result folder, whose measurements are scaled.
        count: number of queries; None if unknown.
        models: the models that the cell loads.
    """
    words = [] if count is None else [f"{count} queries"]
    measured = _measured(cell, folder)
    if measured is None or count is None:
        weights = [model.size_bytes for model in models if model.size_bytes]
        words += [f"weights of {megabytes(sum(weights))}"] if weights else []
        once = validated(cell.reranker, cell.options).dollars(request_size(cell.pool, folder))
        if once is None:
            return words, None, None
        paid = once if count is None else once * _calls(cell, folder, count, done=0)
        words.append(f"about ${paid:.4f}{' a query' if count is None else ''}")
        return words, None, None if count is None else paid
    calls = _calls(cell, folder, count, measured.done)
    warmup = warmup_queries(cell.protocol, count)
    seconds = measured.start_seconds + (calls - warmup) * measured.query_seconds
    dollars = calls * measured.query_dollars
    words.append(f"about {duration(seconds)}")
    words += [f"{megabytes(measured.memory_bytes)} of memory"] if measured.memory_bytes else []
    words += [f"about ${dollars:.4f}"] if dollars else []
    return words, seconds, dollars


def _calls(cell: CellPlan, folder: Path, count: int, done: int) -> int:
    """Return how many queries will be ranked, those of the warm-up and of each repeat included.

    Args:
        cell: what is measured.
        folder: the result folder.
        count: queries of the candidate set.
        done: rankings that the cell has already.
    """
    if not done and validated(cell.reranker, cell.options).is_remote and cell.protocol.served is None:
        done = count_answers(cell, folder)
    return max(0, count * cell.protocol.repeats - done) + warmup_queries(cell.protocol, count)


def _measured(cell: CellPlan, folder: Path) -> Measured | None:
    """Return measurements of the same system in this folder: of this cell, else of the one with most rows.

    None if there are none. Seconds and dollars are scaled to the cell's depth.
    """
    best: Measured | None = None
    for path in sorted(folder.glob("*/record.json")):
        try:
            record = read_record(path.parent)
            if record is None or not _is_same_system(record, cell) or not record.sessions:
                continue
            check_seal(path.parent, record)
            rows = committed(path.parent)[1]
        except DamagedError:
            continue
        if not rows or (best is not None and best.done >= len(rows)):
            continue
        scale = cell.pool.depth / record.depth
        session = record.sessions[-1]
        measured = Measured(
            scale * fmean(row.total_seconds for row in rows),
            (session.load_seconds or 0.0) + sum(session.warmup_seconds),
            session.peak_device_bytes or session.host_bytes or session.peak_host_bytes,
            scale * fmean(row.usage.get("dollars", 0.0) for row in rows),
            len(rows),
        )
        if record.cell == cell.name:
            return measured
        best = measured
    if best is not None:
        return Measured(best.query_seconds, best.start_seconds, best.memory_bytes, best.query_dollars, 0)
    return None


def _is_same_system(record: Record, cell: CellPlan) -> bool:
    """Return whether a record is of the cell's reranker, options and mode, and was not imported."""
    return (
        record.system.reranker == cell.reranker
        and record.system.options == json.loads(json.dumps(cell.options, default=str))
        and record.protocol.mode == cell.protocol.mode
        and not record.is_imported
    )


def _queries(pool: PoolPlan, folder: Path) -> int | None:
    """Return the number of queries in a candidate set; None if counting them could download a dataset."""
    digest = read_index(folder / "pools").get(pool.key)
    if digest:
        return len(load_pool(folder / "pools" / digest).queries)
    if pool.dataset.id not in (None, "bundled"):
        return pool.limit
    dataset = open_dataset(pool.dataset)
    count = len(dataset.qrels) or len(dataset.queries)
    return count if pool.limit is None else min(count, pool.limit)


def _models(cell: CellPlan) -> dict[str, str | None]:
    """Return the models that a cell loads: revision by name."""
    return dict(validated(cell.reranker, cell.options).models)


def _first_stage_models(cells: list[CellPlan]) -> dict[str, Download]:
    """Return the downloads of the encoders of dense first stages, by model name."""
    stages = [part for cell in cells for part in components_of(cell.pool.first_stage)]
    return {stage.encoder: find_download(stage.encoder) for stage in stages if isinstance(stage, Dense)}
