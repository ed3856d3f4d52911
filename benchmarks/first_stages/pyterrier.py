"""A PyTerrier pipeline of the user's own as a first stage (Macdonald and Tonellotto, ICTIR 2020).

An experiment names a function `module:function`, which takes the dataset's passages and returns a transformer
from queries to results. The function is imported, never evaluated from text. It may index the passages, or
ignore them and open an index with the same passage ids.
"""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Any

from benchmarks.first_stages.named import check_hits
from rerankers.errors import InputError, MissingExtraError
from rerankers.files.fingerprints import file_digest
from rerankers.registry import own_object, source_of
from rerankers.stages import StageClock
from rerankers.text.redaction import excerpt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pandas as pd

    from benchmarks.datasets.dataset import Dataset

COLUMNS = ("qid", "docno", "score")
MOST_CHARACTERS = 500  # of a pipeline as it prints itself

Hits = dict[str, list[tuple[str, float]]]


class Passages:
    """A dataset's passages as `{"docno": ..., "text": ...}`, which PyTerrier's indexers take.

    Each iteration starts from the first one.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def __iter__(self) -> Iterator[dict[str, str]]:
        for doc_id, text in self._dataset.documents():
            yield {"docno": doc_id, "text": text}


def check_pipeline(name: str) -> Callable[[Passages], Any]:
    """Import and return the function that an experiment names, without calling it.

    Raises:
        InputError: there is no such module or function.
        MissingExtraError: PyTerrier is not installed.
    """
    try:
        import pyterrier  # noqa: F401 - before the user's module, whose error would not name the extra
    except ModuleNotFoundError as missing:
        raise MissingExtraError("a first stage of kind pyterrier", "pyterrier") from missing
    function: Callable[[Passages], Any] | None = own_object(name, "first stage")
    if not callable(function):
        module, _, attribute = name.partition(":")
        raise InputError(f"{module} has no function {attribute!r}. Define it, or correct the name")
    return function


def search(
    name: str, dataset: Dataset, queries: Mapping[str, str], depth: int, *, is_timed: bool
) -> tuple[Hits, dict[str, float], dict[str, Any]]:
    """Build the user's pipeline on a dataset's passages, and search for the queries.

    Args:
        name: `module:function` that builds the pipeline.
        dataset: the dataset whose passages are searched.
        queries: text by query id.
        depth: most hits of a query.
        is_timed: search for one query at a time and time it; else for all at once, without times.

    Returns:
        (doc id, score), best first, equal scores in the order of their ids, by query id; seconds by query id;
        and a description of the pipeline in JSON values.

    Raises:
        InputError: the function or its pipeline fails, or gives no results of these queries.
        MissingExtraError: PyTerrier is not installed.
    """
    import pandas as pd
    import pyterrier as pt

    function = check_pipeline(name)
    pipeline = _called(name, function, Passages(dataset))
    if not isinstance(pipeline, pt.Transformer):
        raise InputError(f"{name}: returned {type(pipeline).__name__}. Return a PyTerrier transformer")
    frame = pd.DataFrame({"qid": list(queries), "query": list(queries.values())})
    described = {
        "kind": "pyterrier",
        "pipeline": name,
        "transformer": excerpt(repr(pipeline), MOST_CHARACTERS),
        "module_sha256": file_digest(source_of(name)),
        "pyterrier": importlib.metadata.version("pyterrier"),
    }
    if not is_timed:
        return _hits(name, _called(name, pipeline, frame), queries, depth), {}, described
    _called(name, pipeline, frame[:1])  # opens an index, starts Java: not the first query's fault
    clock = StageClock()
    hits: Hits = {}
    seconds: dict[str, float] = {}
    for place, (query_id, query) in enumerate(queries.items()):
        started = clock.now()
        results = _called(name, pipeline, frame[place : place + 1])
        seconds[query_id] = clock.now() - started
        hits |= _hits(name, results, {query_id: query}, depth)
    return hits, seconds, described


def _called(name: str, function: Callable[..., Any], argument: Any) -> Any:
    """Call the user's function or pipeline with the argument and return its result.

    Raises:
        InputError: it raises anything; the message begins with `name`.
    """
    try:
        return function(argument)
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or "no reason given"
        raise InputError(f"{name}: {type(error).__name__}: {reason}. Correct the pipeline") from error


def _hits(name: str, results: pd.DataFrame, queries: Mapping[str, str], depth: int) -> Hits:
    """Turn a pipeline's results into at most `depth` (doc id, score) pairs, best first, by query id.

    Raises:
        InputError: a column is missing, a query was not asked, or hits are wrong as `check_hits` says.
    """
    missing = [column for column in COLUMNS if column not in results.columns]
    if missing:
        columns = ", ".join(map(str, results.columns)) or "none"
        raise InputError(
            f"{name}: results have no column {missing[0]!r} (columns: {columns}). Retrieve first"
        )
    hits: Hits = {}
    for query_id, doc_id, score in zip(*(results[column] for column in COLUMNS), strict=True):
        if str(query_id) not in queries:
            raise InputError(
                f"{name}: results of a query {query_id!r} that was not asked. Keep the column qid"
            )
        hits.setdefault(str(query_id), []).append((str(doc_id), float(score)))
    for query_id, query_hits in hits.items():
        query_hits.sort(key=lambda hit: (-hit[1], hit[0]))
        check_hits(name, query_id, query_hits)
        del query_hits[depth:]
    return hits
