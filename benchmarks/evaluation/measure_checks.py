"""A trial of an experiment's measures on each dataset's own ids and judgements, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.candidates.pool_folder import frozen_qrels, read_index
from benchmarks.datasets.sources import read_judgements
from benchmarks.evaluation.graded import is_plain
from benchmarks.evaluation.measures import parse, try_measures
from rerankers.errors import InputError, RerankbenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from benchmarks.experiments.plan import PoolPlan


def check_measures(plans: Iterable[PoolPlan], folder: Path, *, may_fetch: bool = True) -> None:
    """Compute the measures of each candidate set on its dataset's own judgements, to see that none fails.

    Only measures that other packages compute are tried; those of `.graded` accept any ids and grades. A
    dataset whose judgements cannot be read is skipped: its cells fail with the reason when they are run.

    Args:
        plans: candidate sets that will be frozen, or are already, with the measures of their cells.
        folder: the result folder.
        may_fetch: whether a dataset of ir_datasets may be downloaded for the check.

    Raises:
        InputError: a measure cannot be computed on a dataset.
    """
    tried: set[str] = set()
    index: Mapping[str, str] | None = None
    for plan in plans:
        measures = [name for name in plan.measures if not is_plain(parse(name))]
        dataset = plan.dataset.model_dump_json()
        if not measures or dataset in tried:
            continue
        index = read_index(folder / "pools") if index is None else index
        tried.add(dataset)
        try:
            try_measures(measures, _judgements(plan, folder, index, may_fetch))
        except InputError as error:
            raise InputError(f"{plan.dataset_name}: {error}. Leave it out of `measures`.") from error


def _judgements(
    plan: PoolPlan, folder: Path, index: Mapping[str, str], may_fetch: bool
) -> Mapping[str, Mapping[str, int]]:
    """Return a candidate set's judgements, grade by doc id by query id.

    They come from the frozen candidate set if it exists, else from the dataset. Return {} where they cannot
    be read, or where the dataset would have to be downloaded and `may_fetch` is False.
    """
    frozen = folder / "pools" / index.get(plan.key, "none")
    try:
        if frozen.is_dir():
            return frozen_qrels(frozen)
        if may_fetch or plan.dataset.id in (None, "bundled"):
            return read_judgements(plan.dataset)
    except RerankbenchError:
        pass
    return {}
