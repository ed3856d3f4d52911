"""Retrieval of candidates by each kind of first stage, with the time that it takes.

BM25, an encoder, named first stages and a pipeline of one's own are timed, query by query. A run, the
candidates that a dataset brings along, and its official ranking come without times, and are marked so.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarks.datasets.exclusion import NONE, leave_out
from benchmarks.datasets.readers import read_run, run_name
from benchmarks.first_stages.specs import Bm25, Dense, Given, Hybrid, Named, PyTerrier, Run, ScoredDocs
from benchmarks.results.run_counts import RunCounts, check_queries, say_counts
from rerankers.errors import InputError
from rerankers.files.paths import user_path
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from benchmarks.datasets.dataset import Dataset
    from benchmarks.first_stages.specs import FirstStageSpec

AT_ONCE = "all queries at once"
"""Entry `searched` of a description whose first stage could have been timed, and was not."""

Hits = dict[str, list[tuple[str, float]]]
"""(doc id, score), best first, by query id."""


class Retrieved(BaseModel):
    """The candidates that a first stage retrieved.

    Attributes:
        hits: (doc id, score), best first, by query id; a query for which nothing was found may be missing.
        seconds: retrieval time by query id; empty where it was not measured.
        described: description of the first stage as it ran, in JSON values.
    """

    model_config = ConfigDict(frozen=True)

    hits: Hits
    seconds: dict[str, float] = {}
    described: dict[str, Any]


def retrieve(
    spec: FirstStageSpec, dataset: Dataset, queries: dict[str, str], depth: int, *, is_timed: bool = True
) -> Retrieved:
    """Retrieve at most `depth` candidates for each query, without those that the dataset excludes.

    The first stage retrieves deeper by the largest number of passages excluded for a query, so that `depth`
    is still reached.

    Args:
        spec: the first stage.
        dataset: the dataset whose passages are searched.
        queries: text by query id; the dataset's own texts for the first stage take their place.
        depth: most candidates of a query.
        is_timed: search for one query after the other and time each; otherwise BM25 and a dense first stage
            search for many at once and return no seconds.

    Raises:
        InputError: the first stage does not fit the dataset, or a file is wrong.
        MissingExtraError: pyserini is not installed.
        ModelError: the encoder's weights cannot be used.
    """
    deepest = max((len(dataset.excluded.get(query_id, ())) for query_id in queries), default=0)
    search_texts = {
        query_id: dataset.retrieval_queries.get(query_id, text) for query_id, text in queries.items()
    }
    retrieved = _retrieve(spec, dataset, search_texts, depth + deepest, is_timed)
    described = {**retrieved.described, **({} if retrieved.seconds else {"timed": False})}
    if dataset.retrieval_query_field is not None:
        described["query_field"] = dataset.retrieval_query_field
    if dataset.exclusion in (None, NONE):
        return Retrieved(hits=retrieved.hits, seconds=retrieved.seconds, described=described)
    hits, counts = leave_out(retrieved.hits, dataset.excluded, dataset.qrels, depth)
    described["excluded"] = {"rule": Path(dataset.exclusion).name, **counts}
    return Retrieved(hits=hits, seconds=retrieved.seconds, described=described)


def _retrieve(
    spec: FirstStageSpec, dataset: Dataset, queries: dict[str, str], depth: int, is_timed: bool
) -> Retrieved:
    """Retrieve candidates by the function for the first stage's kind; arguments as in `retrieve`."""
    match spec:
        case Bm25():
            return _bm25(spec, dataset, queries, depth, is_timed)
        case Dense():
            return _dense(spec, dataset, queries, depth, is_timed)
        case Run():
            return _run(spec, dataset, queries, depth)
        case PyTerrier():
            return _pyterrier(spec, dataset, queries, depth, is_timed and spec.timed)
        case Named():
            return _named(spec, dataset, queries, depth)
        case Given():
            return _given(dataset, queries, depth)
        case ScoredDocs():
            return _scored_docs(dataset, queries, depth)
        case Hybrid():
            return _hybrid(spec, dataset, queries, depth, is_timed)


def _bm25(spec: Bm25, dataset: Dataset, queries: dict[str, str], depth: int, is_timed: bool) -> Retrieved:
    """Retrieve with BM25 from the dataset's own index or a prebuilt one."""
    import importlib.metadata

    from benchmarks.first_stages import bm25

    if spec.index is None:
        searcher = bm25.searcher_of(dataset, spec.k1, spec.b, spec.language)
    else:
        searcher = bm25.prebuilt_searcher(spec.index, spec.k1, spec.b, spec.language)
    hits: Hits
    seconds: dict[str, float] = {}
    if is_timed:
        hits, seconds = bm25.search(searcher, queries, depth)
    else:
        hits = bm25.search_at_once(searcher, queries, depth)
    version = importlib.metadata.version("pyserini")
    described = {**spec.model_dump(exclude_none=True), "pyserini": version}
    if not is_timed:
        described["searched"] = AT_ONCE
    return Retrieved(hits=hits, seconds=seconds, described=described)


def _dense(spec: Dense, dataset: Dataset, queries: dict[str, str], depth: int, is_timed: bool) -> Retrieved:
    """Retrieve with an encoder by exact search.

    Raises:
        InputError: an option of the encoder is wrong.
    """
    from benchmarks.first_stages import dense
    from rerankers.encoders.encoder import Encoder

    try:
        encoder = Encoder(spec.encoder, **spec.options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"option {where!r} of the first stage's encoder: {first['msg']}") from error
    if is_timed:
        hits, seconds = dense.search(encoder, dataset, queries, depth)
    else:
        hits, seconds = dense.search_at_once(encoder, dataset, queries, depth), {}
    return Retrieved(hits=hits, seconds=seconds, described={"kind": "dense", **encoder.describe()})


def _run(spec: Run, dataset: Dataset, queries: dict[str, str], depth: int) -> Retrieved:
    """Take the candidates from a run file, and print how its queries and the dataset's differ."""
    path = user_path(spec.path)
    digest = hashlib.sha256()
    run = read_run(path, digest)
    check_queries(path, run, dataset.queries)
    counts = RunCounts.of(run, dataset.queries)
    say_counts(path, counts)
    hits = {query_id: run[query_id][:depth] for query_id in queries if query_id in run}
    described = {
        "kind": "run",
        "name": spec.name or run_name(path),
        "sha256": digest.hexdigest(),
        **counts.nonzero(),
    }
    return Retrieved(hits=hits, described=described)


def _pyterrier(
    spec: PyTerrier, dataset: Dataset, queries: dict[str, str], depth: int, is_timed: bool
) -> Retrieved:
    """Retrieve with the user's PyTerrier pipeline."""
    from benchmarks.first_stages import pyterrier

    hits, seconds, described = pyterrier.search(spec.pipeline, dataset, queries, depth, is_timed=is_timed)
    name = spec.name or spec.pipeline.partition(":")[2]
    return Retrieved(hits=hits, seconds=seconds, described={**described, "name": name})


def _named(spec: Named, dataset: Dataset, queries: dict[str, str], depth: int) -> Retrieved:
    """Retrieve, timed, with a first stage that is registered or a class of the user's own."""
    from benchmarks.first_stages import named

    hits, seconds, described = named.search(spec.name, spec.options, dataset, queries, depth)
    return Retrieved(hits=hits, seconds=seconds, described=described)


def _given(dataset: Dataset, queries: dict[str, str], depth: int) -> Retrieved:
    """Take the candidates that the dataset brings along.

    Raises:
        InputError: it brings none.
    """
    if dataset.given is None:
        raise InputError(f"{dataset.name} brings no candidates; use bm25, dense or run as first stage")
    hits = {query_id: dataset.given[query_id][:depth] for query_id in queries}
    return Retrieved(hits=hits, described={"kind": "given"})


def _scored_docs(dataset: Dataset, queries: dict[str, str], depth: int) -> Retrieved:
    """Take the official first-stage ranking of the dataset.

    Raises:
        InputError: it has none.
    """
    hits = dataset.scored_documents(queries)
    return Retrieved(
        hits={query_id: query_hits[:depth] for query_id, query_hits in hits.items()},
        described={"kind": "scoreddocs"},
    )


def _hybrid(spec: Hybrid, dataset: Dataset, queries: dict[str, str], depth: int, is_timed: bool) -> Retrieved:
    """Fuse the rankings of a hybrid's parts by reciprocal rank.

    A query's seconds are those of all parts and of the fusion; none if a part was not timed.
    """
    most = max(depth, spec.part_depth or depth)
    parts = [_retrieve(part, dataset, queries, most, is_timed) for part in spec.parts]
    clock = StageClock()
    hits: Hits = {}
    seconds: dict[str, float] = {}
    for query_id in queries:
        started = clock.now()
        fused: dict[str, float] = {}
        for part in parts:
            for rank, (doc_id, _) in enumerate(part.hits.get(query_id, ())[: spec.part_depth or depth], 1):
                fused[doc_id] = fused.get(doc_id, 0.0) + 1.0 / (spec.k + rank)
        hits[query_id] = sorted(fused.items(), key=lambda hit: -hit[1])[:depth]
        seconds[query_id] = clock.now() - started + sum(part.seconds.get(query_id, 0.0) for part in parts)
    described = {"kind": "hybrid", "k": spec.k, "parts": [part.described for part in parts]}
    if spec.part_depth is not None:
        described["part_depth"] = spec.part_depth
    is_told = all(part.seconds for part in parts)
    return Retrieved(hits=hits, seconds=seconds if is_told else {}, described=described)
