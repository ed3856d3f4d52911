"""Collects the queries of evaluations, and finds training queries that repeat them.

A model trained on a test query, or on one that nearly equals it, has seen what it is tested on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from benchmarks.datasets.formats.collection import read_queries
from benchmarks.datasets.qrels_files import find_qrels, split_of, splits_of
from benchmarks.datasets.sources import open_dataset
from benchmarks.training_data.queries.near_duplicates import RULE, NearDuplicates
from rerankers.files.fingerprints import fields_digest
from rerankers.files.paths import user_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.datasets.dataset import Dataset
    from benchmarks.datasets.specs import DatasetSpec
    from benchmarks.training_data.queries.near_duplicates import NearDuplicate
    from benchmarks.training_data.queries.settings import EvaluationQueries

_TRAINING_WORDS = ("train", "dev", "val", "development", "validation")
_TEST_WORDS = ("test", "testing", "eval", "evaluation", "judged")


class ProtectedQueries:
    """Queries of evaluations, which no training query may repeat.

    Args:
        names: names of their sources, for messages and records.
        texts: the queries.
    """

    def __init__(self, names: Sequence[str], texts: Iterable[str]) -> None:
        self.names, self._texts = list(names), sorted(set(texts))
        self._index = NearDuplicates(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def find(self, text: str) -> NearDuplicate | None:
        """Return the protected query that a training query equals or nearly equals, or None."""
        return self._index.find(text)

    def identity(self) -> dict[str, Any] | None:
        """Return names, number and digest of the queries, and the rule of comparison.

        None if there are none.
        """
        if not self._texts:
            return None
        return {
            "names": self.names,
            "count": len(self),
            "digest": fields_digest(self._texts)[:16],
            "rule": RULE,
        }


def protected_queries(
    specs: Sequence[EvaluationQueries], training: DatasetSpec, dataset: Dataset, *, are_made: bool
) -> ProtectedQueries:
    """Collect the queries that training must not repeat: the named ones, and the dataset's own test queries.

    The dataset's own are those that the split `test` of a folder judges, unless training uses that split; and
    for queries made from passages, all that the dataset judges (or has, if it judges none).

    Args:
        specs: the named evaluations.
        training: the dataset that training queries come from.
        dataset: the same, opened.
        are_made: whether training queries are made from its passages.

    Raises:
        InputError: a file is missing or wrong, or a name is unknown.
    """
    names: list[str] = []
    texts: list[str] = []
    for spec in specs:
        if spec.queries is not None:
            queries = read_queries(user_path(spec.queries))
            names.append(user_path(spec.queries).name)
            texts += queries.values()
        else:
            opened = open_dataset(spec.dataset())
            names.append(_name(opened.name, spec.split))
            texts += _evaluated(opened)
    if training.folder is not None and (are_made or not is_test_split(training)):
        folder = user_path(training.folder)
        if "test" in splits_of(folder) and (training.split or "test") != "test":
            names.append(_name(dataset.name, "test"))
            texts += _evaluated(open_dataset(training.model_copy(update={"split": "test"})))
    if are_made and dataset.queries:
        names.append(_name(dataset.name, training.split))
        texts += _evaluated(dataset)
    return ProtectedQueries(names, texts)


def is_test_split(spec: DatasetSpec) -> bool:
    """Return whether a dataset's split is, by its name, for evaluation.

    True for a folder's split `test`, for the built-in collection, and for ir_datasets ids with a part such as
    `test` or `judged`, or of a TREC track, that name no training or development split.
    """
    if spec.id is not None:
        words = set(re.split(r"[/_.-]", spec.id.lower()))
        is_training = any(word.startswith(_TRAINING_WORDS) for word in words)
        return spec.id == "bundled" or (not is_training and bool(words & {*_TEST_WORDS, "trec"}))
    if spec.folder is None:
        return False
    named = spec.qrels_file
    qrels = user_path(named) if named else find_qrels(user_path(spec.folder), spec.split)
    return qrels is not None and split_of(qrels).lower().startswith("test")


def _evaluated(dataset: Dataset) -> list[str]:
    """Return the texts of a dataset's judged queries, or of all if none is judged."""
    return [dataset.queries[query_id] for query_id in dataset.qrels or dataset.queries]


def _name(dataset: str, split: str | None) -> str:
    """Return a dataset's name with its split, if any."""
    return f"{dataset}, split {split}" if split else dataset
