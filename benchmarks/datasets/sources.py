"""Functions that open a dataset from wherever it is kept.

An ir_datasets id, a folder in the BEIR layout, two files of passages and queries, a file of candidates, or
the built-in collection. A passage's text is its title and its text joined by a space.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.datasets.exclusion import NONE, excluded_passages
from benchmarks.datasets.file_datasets import open_candidates, open_files, open_folder, qrels_of
from benchmarks.datasets.qrels_files import find_qrels
from benchmarks.datasets.readers import read_qrels
from benchmarks.datasets.specs import OWN, DatasetSpec
from rerankers.errors import InputError
from rerankers.files.paths import user_path

if TYPE_CHECKING:
    from benchmarks.datasets.dataset import Dataset

BUNDLED = Path(__file__).parents[1] / "bundled"


def open_dataset(spec: DatasetSpec | str, *, needs_queries: bool = True) -> Dataset:
    """Open the dataset that a specification names, and read its queries and judgements.

    Passages are read when they are first asked for.

    Args:
        spec: the specification, or the string that stands for it.
        needs_queries: False accepts a folder that holds passages alone.

    Raises:
        InputError: a file is missing or wrong, or the name is unknown.
    """
    if isinstance(spec, str):
        spec = DatasetSpec.model_validate(spec)
    dataset = _open(spec, needs_queries)
    _read_query_fields(dataset, spec)
    dataset.exclusion = spec.exclusion or dataset.exclusion
    if dataset.exclusion == NONE:
        dataset.excluded = {}
    commented = sum(query_id.startswith("#") for query_id in dataset.queries)
    if commented:
        dataset.notes.append(
            f"{commented} query ids begin with #, and so do comments in TREC files: such lines of judgements "
            "and runs are not read"
        )
    for query_id, doc_ids in excluded_passages(spec.exclusion, dataset.queries, dataset.qrels).items():
        dataset.excluded[query_id] = doc_ids | dataset.excluded.get(query_id, frozenset())
    return dataset


def _open(spec: DatasetSpec, needs_queries: bool) -> Dataset:
    """Open a dataset by its kind, without query fields and exclusions of the specification."""
    qrels_file = None if spec.qrels_file is None else user_path(spec.qrels_file)
    if spec.candidates is not None:
        return open_candidates(user_path(spec.candidates), spec)
    if spec.folder is not None:
        folder = user_path(spec.folder)
        name = spec.name or folder.resolve().name
        return open_folder(folder, name, spec.split, needs_queries, spec.column_names, qrels_file)
    if spec.documents is not None and spec.queries is not None:
        return open_files(user_path(spec.documents), user_path(spec.queries), spec)
    assert spec.id is not None  # noqa: S101 - the specification's own validator
    if spec.id == "bundled":
        return open_folder(BUNDLED, spec.name or "bundled", "test", qrels_file=qrels_file)
    from benchmarks.datasets.ir_collection import IrDataset

    dataset = IrDataset(spec.name or spec.id, spec.id, spec.query_field)
    if qrels_file is not None:
        dataset.qrels = qrels_of(dataset.queries, qrels_file, spec.id)
    return dataset


def read_judgements(spec: DatasetSpec) -> dict[str, dict[str, int]]:
    """Read a dataset's main judgements, grade by doc id by query id, without its passages.

    Return {} where there are none, and where they come from a pipe, which can be read once only.

    Raises:
        InputError: they are missing or wrong, or the name is unknown.
    """
    if spec.candidates is None and spec.folder is None and spec.documents is None:
        return open_dataset(spec).qrels
    path = None if spec.qrels_file is None else user_path(spec.qrels_file)
    if spec.folder is not None and path is None:
        path = find_qrels(user_path(spec.folder), spec.split)
    return {} if path is None or path.is_fifo() else read_qrels(path)


def read_further_judgements(spec: DatasetSpec) -> dict[str, dict[str, dict[str, int]]]:
    """Read all sets of judgements but a dataset's first: grade by doc id by query id, by the set's name.

    Raises:
        InputError: a file is missing or wrong, or the dataset has no judgements of its own.
    """
    by_name = {}
    for name, path in spec.further_judgements.items():
        if path == OWN:
            by_name[name] = read_judgements(spec.model_copy(update={"judgements": None}))
            if not by_name[name]:
                raise InputError(f"judgements {name!r}: the dataset has none of its own. Name a file.")
        else:
            by_name[name] = read_qrels(user_path(path))
    return by_name


def _read_query_fields(dataset: Dataset, spec: DatasetSpec) -> None:
    """Fill in the dataset's texts for the first stage and its queries' instructions, where fields are named.

    The number of queries without such a text is added to the dataset's notes.
    """
    dataset.retrieval_query_field = spec.retrieval_query_field
    for field, target, instead in (
        (spec.retrieval_query_field, dataset.retrieval_queries, "their own text retrieves"),
        (spec.instruction_field, dataset.instructions, "the dataset's instruction, if any, stands for it"),
    ):
        if field is None:
            continue
        values = dataset.query_fields(field)
        target.update({q: values[q].strip() for q in dataset.queries if values.get(q, "").strip()})
        lacking = len(dataset.queries) - len(target)
        if lacking:
            count = f"{lacking} of {len(dataset.queries)} queries have no {field!r}"
            dataset.notes.append(f"{count}; {instead}")
