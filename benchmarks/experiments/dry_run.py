"""The dry run: cells, models to fetch, time, memory and cost of a run before it starts.

Times, memory and dollars are those of the same system in the same result folder, measured by an earlier run
such as `--limit 3`, or in other folders that are named, scaled to what is left. Where there is none, memory
is at least the weights, and the time stays unknown. Dollars are then estimated from the calls that the
options say (`rerankers.work`) and the texts at hand. They are those of every call that the run makes: repeats
and warm-up count, and answers of an earlier run that are taken over do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.candidates.pool_folder import load_pool, read_index
from benchmarks.datasets.sources import open_dataset
from benchmarks.evaluation.measure_checks import check_measures
from benchmarks.experiments.downloads import Download, find_download
from benchmarks.experiments.plan import plan
from benchmarks.experiments.rates import Bill, find_rate
from benchmarks.experiments.text_sizes import request_size
from benchmarks.first_stages.specs import Dense, components_of
from benchmarks.measuring.protocol import warmup_queries
from benchmarks.results.adoption import count_answers
from benchmarks.results.cell_record import check_seal, read_record
from rerankers.errors import DamagedError
from rerankers.registry import validated
from rerankers.text.quantities import duration, megabytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.experiments.config import Experiment
    from benchmarks.experiments.plan import CellPlan, PoolPlan

STATES: dict[str | None, str] = {
    None: "to do",
    "done": "finished",
    "running": "unfinished",
    "failed": "failed, again",
    "damaged": "damaged",
}


def describe_run(
    experiment: Experiment,
    folder: Path,
    rates: Sequence[Path] = (),
    dollars_per_hour: float | None = None,
) -> Iterator[str]:
    """Yield the lines of a dry run: one per cell, one per model, one per system of several cells, and totals.

    Nothing is loaded, downloaded or written.

    Args:
        experiment: what would be run.
        folder: its result folder.
        rates: further result folders whose measurements tell how long a query takes.
        dollars_per_hour: the price of the machine, which is multiplied by its hours; None leaves it out.
    """
    cells = plan(experiment)
    check_measures([cell.pool for cell in cells], folder, may_fetch=False)
    states = {cell.name: _state(folder / cell.name) for cell in cells}
    todo = [cell for cell in cells if states[cell.name] != STATES["done"]]
    counts = {id(cell.pool): _queries(cell.pool, folder) for cell in cells}
    unknown, models, bill = 0, _first_stage_models(todo), Bill(dollars_per_hour)
    for cell in cells:
        words = [f"{states[cell.name]:14}{cell.pool.name}", cell.label]
        if cell in todo:
            count = counts[id(cell.pool)]
            downloads = {name: find_download(name, revision) for name, revision in _models(cell).items()}
            models |= downloads
            cost, time_left, paid = _estimate(cell, [folder, *rates], count, list(downloads.values()))
            words += cost
            unknown += time_left is None
            bill.add(cell.label, time_left, paid)
        if key := validated(cell.reranker, cell.options).missing_key:
            words.append(f"needs {key}, which is not set")
        yield "  ".join(words)
    for download in models.values():
        yield str(download)
    yield from bill.lines()
    fetch = [download.size_bytes or 0 for download in models.values() if not download.is_here]
    total = [f"{len(todo)} of {len(cells)} cells to run, results in {folder}"]
    total += [f"{megabytes(sum(fetch))} to fetch"] if sum(fetch) else []
    yield "; ".join([*total, *bill.total()])
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
    cell: CellPlan, folders: Sequence[Path], count: int | None, models: list[Download]
) -> tuple[list[str], float | None, float | None]:
    """Return words for a cell's line, and the seconds and dollars that it still needs; None if unknown.

    Args:
        cell: the cell.
        folders: result folders whose measurements are scaled, the cell's own first.
        count: number of queries; None if unknown.
        models: the models that the cell loads.
    """
    words = [] if count is None else [f"{count} queries"]
    folder, measured = folders[0], find_rate(cell, folders)
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


def _queries(pool: PoolPlan, folder: Path) -> int | None:
    """Return the number of queries in a candidate set; None if counting them could download a dataset."""
    digest = read_index(folder / "pools").get(pool.key)
    if digest:
        return len(load_pool(folder / "pools" / digest).queries)
    if pool.dataset.id not in (None, "bundled"):
        counts = [count for count in (_listed_queries(pool.dataset.id), pool.limit) if count is not None]
        return min(counts, default=None)
    dataset = open_dataset(pool.dataset)
    count = len(dataset.qrels) or len(dataset.queries)
    return count if pool.limit is None else min(count, pool.limit)


def _listed_queries(dataset_id: str) -> int | None:
    """Return the number of queries that ir_datasets lists for a dataset; None for an unknown one."""
    import ir_datasets

    try:
        count = ir_datasets.load(dataset_id).queries_metadata().get("count")
    except (AttributeError, KeyError):  # an unknown id, or a collection without queries
        return None
    return None if count is None else int(count)


def _models(cell: CellPlan) -> dict[str, str | None]:
    """Return the models that a cell loads: revision by name."""
    return dict(validated(cell.reranker, cell.options).models)


def _first_stage_models(cells: list[CellPlan]) -> dict[str, Download]:
    """Return the downloads of the encoders of dense first stages, by model name."""
    stages = [part for cell in cells for part in components_of(cell.pool.first_stage)]
    return {stage.encoder: find_download(stage.encoder) for stage in stages if isinstance(stage, Dense)}
