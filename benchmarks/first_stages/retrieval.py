"""First stages: who proposes the candidates.

Five kinds, told apart by `kind` in an experiment file: `bm25`, `dense`, a TREC `run`, a `pyterrier` pipeline,
and `given` for a candidates file's own order. A plain string stands for a kind without options.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from benchmarks.datasets.exclusion import NONE, leave_out
from benchmarks.datasets.readers import read_run, run_name
from benchmarks.results.run_counts import RunCounts, check_queries, say_counts
from rerankers.errors import InputError
from rerankers.files.paths import user_path

if TYPE_CHECKING:
    from benchmarks.datasets.sources import Dataset

Hits = dict[str, list[tuple[str, float]]]
"""(doc id, score), best first, by query id."""


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Bm25(_Spec):
    """BM25 through Lucene.

    Attributes:
        k1: how slowly repeated words stop counting.
        b: how much long passages are discounted, 0 to 1.
        index: a prebuilt index of pyserini; by default one is built from the dataset's passages.
    """

    kind: Literal["bm25"] = "bm25"
    k1: float = Field(default=0.9, ge=0)
    b: float = Field(default=0.4, ge=0, le=1)
    index: str | None = None


class Dense(_Spec):
    """Exact search by an encoder's similarity of query and passage: cosine or inner product.

    Attributes:
        encoder: the embedding model, as `rerankers.models.locate` names models.
        options: further options of `rerankers.encoders.encoder.Encoder`.
    """

    kind: Literal["dense"]
    encoder: str
    options: dict[str, Any] = {}


class Run(_Spec):
    """Candidates from a TREC run file, plain or compressed.

    Attributes:
        path: the file.
        name: what retrieved it, for tables; by default the file's name.
    """

    kind: Literal["run"]
    path: str
    name: str | None = None


class PyTerrier(_Spec):
    """A PyTerrier pipeline of one's own.

    Attributes:
        pipeline: `module:function`, in the working folder or an installed package. The function takes the
            passages, an iterable of `{"docno": ..., "text": ...}`, and returns a transformer from queries to
            results.
        name: what tables call it; by default the function's name.
        timed: ask one query after the other, and note what each takes; otherwise all at once.
    """

    kind: Literal["pyterrier"]
    pipeline: str
    name: str | None = None
    timed: bool = True


class Given(_Spec):
    """The candidates that the dataset brings along, in its own order."""

    kind: Literal["given"] = "given"


def _from_string(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


FirstStageSpec = Annotated[
    Annotated[Bm25 | Dense | Run | PyTerrier | Given, Field(discriminator="kind")],
    BeforeValidator(_from_string),
]


class Retrieved(BaseModel):
    """The result of a first stage.

    Attributes:
        hits: (doc id, score), best first, by query id; a query for which nothing was found may be missing.
        seconds: by query id; empty where the file does not tell.
        described: what was really used, in JSON values.
    """

    model_config = ConfigDict(frozen=True)

    hits: Hits
    seconds: dict[str, float] = {}
    described: dict[str, Any]


def retrieve(
    spec: FirstStageSpec, dataset: Dataset, queries: dict[str, str], depth: int, *, is_timed: bool = True
) -> Retrieved:
    """Return candidates for each query, at most `depth`, without those that the dataset excludes.

    The first stage retrieves deeper by the largest number of passages excluded for a query, so that `depth`
    is still reached.

    Args:
        spec: the first stage.
        dataset: whose passages are searched.
        queries: texts by query id.
        depth: most candidates of a query.
        is_timed: ask one query after the other, as latencies have to be told; otherwise a dense first stage
            answers many at once and tells no seconds.

    Raises:
        InputError: the first stage does not fit the dataset, or a file is wrong.
        MissingExtraError: pyserini is not installed.
        ModelError: the encoder's weights cannot be used.
    """
    deepest = max((len(dataset.excluded.get(query_id, ())) for query_id in queries), default=0)
    retrieved = _retrieve(spec, dataset, queries, depth + deepest, is_timed)
    if dataset.exclusion in (None, NONE):
        return retrieved
    hits, counts = leave_out(retrieved.hits, dataset.excluded, dataset.qrels, depth)
    described = {**retrieved.described, "excluded": {"rule": Path(dataset.exclusion).name, **counts}}
    return Retrieved(hits=hits, seconds=retrieved.seconds, described=described)


def _retrieve(
    spec: FirstStageSpec, dataset: Dataset, queries: dict[str, str], depth: int, is_timed: bool
) -> Retrieved:
    match spec:
        case Bm25():
            return _bm25(spec, dataset, queries, depth)
        case Dense():
            return _dense(spec, dataset, queries, depth, is_timed)
        case Run():
            return _run(spec, dataset, queries, depth)
        case PyTerrier():
            return _pyterrier(spec, dataset, queries, depth, is_timed and spec.timed)
        case Given():
            return _given(dataset, queries, depth)


def _bm25(spec: Bm25, dataset: Dataset, queries: dict[str, str], depth: int) -> Retrieved:
    import importlib.metadata

    from benchmarks.first_stages import bm25

    if spec.index is None:
        searcher = bm25.searcher_of(dataset, spec.k1, spec.b)
    else:
        searcher = bm25.prebuilt_searcher(spec.index, spec.k1, spec.b)
    hits, seconds = bm25.search(searcher, queries, depth)
    version = importlib.metadata.version("pyserini")
    described = {**spec.model_dump(exclude_none=True), "pyserini": version}
    return Retrieved(hits=hits, seconds=seconds, described=described)


def _dense(spec: Dense, dataset: Dataset, queries: dict[str, str], depth: int, is_timed: bool) -> Retrieved:
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
    from benchmarks.first_stages import pyterrier

    hits, seconds, described = pyterrier.search(spec.pipeline, dataset, queries, depth, is_timed=is_timed)
    name = spec.name or spec.pipeline.partition(":")[2]
    return Retrieved(hits=hits, seconds=seconds, described={**described, "name": name})


def _given(dataset: Dataset, queries: dict[str, str], depth: int) -> Retrieved:
    if dataset.given is None:
        raise InputError(f"{dataset.name} brings no candidates; use bm25, dense or run as first stage")
    hits = {query_id: dataset.given[query_id][:depth] for query_id in queries}
    return Retrieved(hits=hits, described={"kind": "given"})
