"""Writes further judgement files of a dataset into the result folder, beside the dataset's first judgements.

They are stored like a model's grades (`benchmarks.results.judgements`), and change neither candidate sets nor
cells: with a file that is added later, measures are computed without running anything again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.candidates.pool_folder import frozen_qrels, read_index
from benchmarks.datasets.sources import read_further_judgements, read_judgements
from benchmarks.datasets.specs import OWN
from benchmarks.results.judgements import (
    JudgeAbout,
    JudgedSet,
    JudgementFile,
    judges,
    write_about,
    write_grades,
)
from rerankers.errors import InputError, RerankbenchError
from rerankers.files.fingerprints import file_digest
from rerankers.files.paths import user_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from benchmarks.datasets.specs import DatasetSpec
    from benchmarks.experiments.plan import PoolPlan

    Sets = dict[str, dict[str, JudgedSet]]


def keep_further_judgements(plans: Iterable[PoolPlan], folder: Path) -> None:
    """Read all further judgements of the datasets, and store those of frozen candidate sets in the folder.

    Stored judgements of these candidate sets that the experiment no longer names are removed.

    Args:
        plans: the candidate sets of an experiment, frozen already or not.
        folder: the result folder.

    Raises:
        InputError: a file is missing or wrong, or judges none of a candidate set's queries.
        StoreError: a file of the folder is damaged.
    """
    index = read_index(folder / "pools")
    by_name: Sets = {}
    frozen = set()
    for plan in {plan.key: plan for plan in plans}.values():
        digest = index.get(plan.key, "")
        is_frozen = bool(digest) and (folder / "pools" / digest).is_dir()
        frozen |= {digest} if is_frozen else set()
        if not plan.dataset.further_judgements:
            continue
        judged = frozen_qrels(folder / "pools" / digest) if is_frozen else _queries(plan.dataset)
        for name, grades in read_further_judgements(plan.dataset).items():
            shared = {query_id: grades[query_id] for query_id in judged if query_id in grades}
            if judged and not shared:
                path = plan.dataset.further_judgements[name]
                reason = f"judges none of the dataset's {len(judged)} judged queries"
                raise InputError(f"{path}: {reason}. Name judgements of this dataset.")
            if is_frozen:
                by_name.setdefault(name, {})[digest] = JudgedSet(
                    digest=write_grades(folder, name, digest, shared), file=_file(plan.dataset, name)
                )
    _write(folder, by_name, frozen)


def _queries(dataset: DatasetSpec) -> Collection[str]:
    """Return the ids of a dataset's judged queries; empty if it cannot be read, an error its cells report."""
    try:
        return read_judgements(dataset)
    except RerankbenchError:
        return ()


def _file(dataset: DatasetSpec, name: str) -> JudgementFile:
    """Return the record of a further judgement file: its path, digest and the main file."""
    path = dataset.further_judgements[name]
    digest = "" if path == OWN else file_digest(user_path(path))
    return JudgementFile(path=path, digest=digest, beside=dataset.main_judgements)


def _write(folder: Path, by_name: Sets, frozen: set[str]) -> None:
    """Write `about.json` of each judgement file; entries of candidate sets not in `frozen` stay."""
    existing = {name: about for name, about in judges(folder).items() if about.model is None}
    for name in {**existing, **by_name}:
        about = existing.get(name, JudgeAbout())
        others = {digest: judged for digest, judged in about.sets.items() if digest not in frozen}
        changed = about.model_copy(update={"sets": {**others, **by_name.get(name, {})}})
        if changed != about:
            write_about(folder, name, changed)
