"""BM25 retrieval with Lucene through pyserini (Anserini's defaults: English analyzer, Porter stemmer).

An index is built once per collection and cached; k1 and b are chosen when searching, so one index serves all.
Equal scores are ordered by doc id.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
from typing import TYPE_CHECKING, Any

from benchmarks.first_stages.java import quiet_import, start_java
from benchmarks.first_stages.lucene_index import build_index
from benchmarks.measuring.progress import say
from rerankers.errors import InputError, UnknownNameError
from rerankers.models.locate import cache_folder
from rerankers.progress import Activity
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.datasets.dataset import Dataset

ENGLISH = "en"
"""The language of the default analyzer."""


def search(
    searcher: Any, queries: dict[str, str], depth: int
) -> tuple[dict[str, list[tuple[str, float]]], dict[str, float]]:
    """Search for each query, one at a time on one thread, and time it.

    Args:
        searcher: a pyserini `LuceneSearcher`.
        queries: text by query id.
        depth: most hits of a query.

    Returns:
        (doc id, score), best first, by query id; and seconds by query id.
    """
    hits: dict[str, list[tuple[str, float]]] = {}
    seconds: dict[str, float] = {}
    clock = StageClock()
    for query in list(queries.values())[:1]:
        searcher.search(query, k=depth)  # opens files and loads classes, which is not the query's fault
    with Activity("searching by BM25", len(queries), unit="query", is_timed=True) as progress:
        for query_id, query in queries.items():
            started = clock.now()
            lucene_hits = searcher.search(query, k=depth)
            hits[query_id] = [(hit.docid, float(hit.score)) for hit in lucene_hits]
            seconds[query_id] = clock.now() - started
            progress.advance()
    return hits, seconds


def search_at_once(searcher: Any, queries: dict[str, str], depth: int) -> dict[str, list[tuple[str, float]]]:
    """Search for all queries, untimed, by as many threads as processors.

    Args:
        searcher: a pyserini `LuceneSearcher`.
        queries: text by query id.
        depth: most hits of a query.

    Returns:
        (doc id, score), best first, by query id: the hits of `search`.
    """
    lucene_hits = searcher.batch_search(
        list(queries.values()), list(queries), k=depth, threads=os.cpu_count() or 1
    )
    return {
        query_id: [(hit.docid, float(hit.score)) for hit in lucene_hits[query_id]] for query_id in queries
    }


def searcher_of(dataset: Dataset, k1: float, b: float, language: str | None = None) -> Any:
    """Return a pyserini `LuceneSearcher` over the dataset's passages; build the index if it is missing.

    Args:
        dataset: the dataset.
        k1: BM25's k1.
        b: BM25's b.
        language: two letters such as `de`, whose analyzer is used; None for English.

    Raises:
        InputError: no Java, or a broken dataset.
        MissingExtraError: pyserini is not installed.
    """
    with Activity("starting Java and Lucene"):
        start_java()
        with quiet_import():
            from pyserini.search.lucene import LuceneSearcher
    _check_language(language)
    return _with_settings(LuceneSearcher(str(_index_of(dataset, language))), k1, b, language)


def prebuilt_searcher(name: str, k1: float, b: float, language: str | None = None) -> Any:
    """Return a pyserini `LuceneSearcher` over one of its prebuilt indexes, downloaded if it is not cached.

    Args:
        name: pyserini's name of the index.
        k1: BM25's k1.
        b: BM25's b.
        language: two letters such as `de`, whose analyzer is used; None for English.

    Raises:
        InputError: the name is unknown, or the index cannot be fetched.
        MissingExtraError: pyserini is not installed.
    """
    with Activity("starting Java and Lucene"):
        start_java()
        with quiet_import():
            from pyserini.prebuilt_index_info import TF_INDEX_INFO
            from pyserini.search.lucene import LuceneSearcher
    if name not in TF_INDEX_INFO:
        raise UnknownNameError("prebuilt index", name, TF_INDEX_INFO)
    output = io.StringIO()
    what = f"fetching and opening the prebuilt index {name}"
    with Activity(what), contextlib.redirect_stdout(output):  # it prints its failures and returns None
        searcher = LuceneSearcher.from_prebuilt_index(name)
    if searcher is None:
        reason = (output.getvalue().strip().splitlines() or ["no reason given"])[-1]
        raise InputError(f"prebuilt index {name!r} cannot be fetched ({reason}); check the network")
    _check_language(language)
    return _with_settings(searcher, k1, b, language)


def _with_settings(searcher: Any, k1: float, b: float, language: str | None) -> Any:
    """Set a searcher's k1, b and, unless it is English, language; return the searcher."""
    searcher.set_bm25(k1, b)
    if language not in (None, ENGLISH):
        searcher.set_language(language)
    return searcher


def _check_language(language: str | None) -> None:
    """Check that this Java runtime can tokenize a language; print a line if Lucene has no analyzer for it.

    Raises:
        InputError: the runtime lacks the language, as small runtimes lack Thai.
    """
    if language in (None, ENGLISH):
        return
    from jnius import JavaException, autoclass

    analyzers = autoclass("io.anserini.analysis.AnalyzerMap")
    if not analyzers.analyzerMap.containsKey(language):
        say(f"bm25: Lucene has no analyzer for {language!r}; words are cut at white space, as they stand")
        return
    try:
        analyzer = autoclass(analyzers.analyzerMap.get(language))()
        autoclass("io.anserini.analysis.AnalyzerUtils").analyze(analyzer, "text")
    except JavaException as error:
        reason = str(error).partition("\n")[0].rpartition(": ")[2]
        raise InputError(
            f"bm25 of language {language!r}: {reason}. Install a full Java runtime and set JAVA_HOME"
        ) from error


def _index_of(dataset: Dataset, language: str | None) -> Path:
    """Return the folder of the dataset's cached index, built first if it is missing.

    It appears in the cache complete or not at all.
    """
    version = importlib.metadata.version("pyserini")
    analyzer = "" if language in (None, ENGLISH) else f"-{language}"
    index = cache_folder() / "indexes" / dataset.fingerprint / f"lucene-pyserini-{version}{analyzer}"
    if index.is_dir():
        return index
    build_index(dataset, index, None if language == ENGLISH else language)
    return index
