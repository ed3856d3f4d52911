"""Builds ranking data: a first stage proposes, some candidates are drawn, a teacher orders them.

Any dataset, any first stage and any registered reranker of the suite will do. The file is JSON lines in the
plain form of `rerankers.training.data.records`: a first line says where it all comes from, and each list
names its teacher by digest. Lines are only ever appended, so a killed run loses one batch at most.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from benchmarks.datasets.sources import DatasetSpec, open_dataset
from benchmarks.first_stages.retrieval import FirstStageSpec, retrieve
from benchmarks.measuring.progress import Progress, say
from benchmarks.training_data.files import find_settings, read_settings
from rerankers import registry
from rerankers.endpoints.prices import Budget
from rerankers.errors import InputError
from rerankers.files.folder_lock import FolderLock
from rerankers.interface import Candidate, RerankRequest
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import IO

    from benchmarks.datasets.sources import Dataset
    from rerankers.interface import Ranking, Reranker

_RETRIEVED_AT_ONCE = 8192  # queries between two calls of the first stage, whose start takes seconds


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Candidates(_Strict):
    """Which of a query's hits become its list.

    Attributes:
        depth: hits asked of the first stage.
        per_list: passages in a list.
        at: `top` takes the first ones; `mixed` draws from the first d, with d drawn between `per_list` and
            `depth`, evenly on a logarithmic scale: some lists are hard to order, some easy.
        shuffle: put the list in random order; otherwise it keeps the first stage's.
    """

    depth: int = Field(default=100, ge=2)
    per_list: int = Field(default=20, ge=2)
    at: Literal["top", "mixed"] = "mixed"
    shuffle: bool = True

    @model_validator(mode="after")
    def _is_deep_enough(self) -> Candidates:
        if self.depth < self.per_list:
            raise ValueError(f"depth {self.depth} is less than per_list {self.per_list}; ask for more")
        return self


class Teacher(_Strict):
    """The reranker that orders the lists. A plain string stands for its name."""

    name: str
    options: dict[str, Any] = {}


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Distillation(_Strict):
    """Settings of a distillation.

    Attributes:
        dataset: id or folder; with several splits, name the one to train on.
        first_stage: what proposes the candidates.
        candidates: which of them become a list.
        teacher: the registered reranker that orders it.
        qrels_first: passages judged relevant come first, best grade first, and the teacher orders the rest;
            those that the first stage found are always in the list.
        queries: `judged` takes those with judgements, `all` takes every one; by default the judged ones if
            there are any.
        limit: how many lists; the first lists of a longer file are those of a shorter one.
        batch: lists given to the teacher at once.
        budget: dollars that the teacher's calls of endpoints may cost, earlier runs into the same file
            included; the ledger lies beside the file, `FILE.jsonl.spending`.
        seed: of the order of queries, of the draws and of the shuffling.
    """

    dataset: DatasetSpec
    first_stage: FirstStageSpec
    candidates: Candidates = Candidates()
    teacher: Annotated[Teacher, BeforeValidator(_named)]
    qrels_first: bool = False
    queries: Literal["judged", "all"] | None = None
    limit: int | None = Field(default=None, ge=1)
    batch: int = Field(default=16, ge=1)
    budget: float | None = Field(default=None, gt=0)
    seed: int = 0


def load_distillation(name: str, overrides: Sequence[str] = ()) -> Distillation:
    """Read a settings file, or a ready one by its name.

    Raises:
        InputError: `file:line: what is wrong`.
    """
    return read_settings(find_settings(name), Distillation, overrides)


def distill(settings: Distillation, out: Path) -> int:
    """Write the lists that `out` does not hold yet; returns how many it holds then.

    Raises:
        InputError: the settings do not fit the dataset, or `out` was made with others.
        StoreError: another process is writing there.
        ModelError, BackendError: the teacher failed for good; what was written stays.
    """
    dataset = open_dataset(settings.dataset)
    for note in dataset.notes:
        say(f"{dataset.name}: {note}")
    queries = _queries(settings, dataset)
    teacher = _teacher(settings, dataset)
    try:
        if settings.budget is not None:
            teacher.pay_from(Budget(settings.budget, out.with_name(f"{out.name}.spending")))
        about = _about(settings, dataset, teacher)
        with FolderLock(out.parent):
            done = _resume(out, about)
            todo = [query_id for query_id in queries if query_id not in done]
            with (
                out.open("ab") as file,
                Progress("distilling", len(queries), len(queries) - len(todo)) as progress,
            ):
                if not done and not out.stat().st_size:
                    _append(file, [{"about": about}])
                for requests in _requests(settings, dataset, todo):
                    lines = _ordered(settings, dataset, teacher, requests, about["digest"])
                    _append(file, lines)
                    done |= {line["query_id"] for line in lines}
                    progress.advance(len(requests))
    finally:
        teacher.close()
    return len(done)


def _queries(settings: Distillation, dataset: Dataset) -> list[str]:
    """Ids in an order of their own, so that any number of them is a fair sample."""
    kind = settings.queries or ("judged" if dataset.qrels else "all")
    if kind == "judged" and not dataset.qrels:
        raise InputError(f"{dataset.name} has no judgements; set queries: all")
    ids = list(dataset.qrels if kind == "judged" else dataset.queries)
    random.Random(settings.seed).shuffle(ids)  # noqa: S311 - sampling, not secrets
    return ids[: settings.limit]


def _teacher(settings: Distillation, dataset: Dataset) -> Reranker:
    name, options = settings.teacher.name, dict(settings.teacher.options)
    if registry.load(name).needs_qrels:
        options["qrels"] = dataset.qrels
    return registry.create(name, options)


def _about(settings: Distillation, dataset: Dataset, teacher: Reranker) -> dict[str, Any]:
    """Where the lists come from; the digest leaves out what changes no list."""
    chosen = settings.model_dump(exclude={"limit", "batch", "budget", "dataset"})
    identity = settings.dataset.identity()
    later: dict[str, Any] = {key: identity[key] for key in ("query_field", "exclude") if key in identity}
    about = {
        "teacher": {"name": settings.teacher.name, "described": teacher.describe()},
        "dataset": {
            "name": dataset.name,
            "passages": dataset.fingerprint,
            "split": settings.dataset.split,
            **later,
        },
        "settings": chosen,
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    return {"digest": digest, **about}


def _resume(out: Path, about: Mapping[str, Any]) -> set[str]:
    """Ids of the queries that a file holds, without a line that a kill cut off."""
    if not out.exists():
        return set()
    done: set[str] = set()
    whole = 0
    with out.open("rb") as file:
        for number, line in enumerate(file):
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            try:
                values = json.loads(line)
                found = values["query_id"] if number else values["about"]["digest"]
            except (ValueError, KeyError, TypeError) as error:
                reason = "this is no line of a distillation; give another --out"
                raise InputError.at(out, number + 1, reason) from error
            if number:
                done.add(found)
            elif found != about["digest"]:
                reason = "these lists were made with other settings or another teacher; give another --out"
                raise InputError.at(out, 1, reason)
    if whole < out.stat().st_size:
        os.truncate(out, whole)
    if done:
        say(f"{len(done)} lists are there already")
    return done


def _requests(
    settings: Distillation, dataset: Dataset, query_ids: Sequence[str]
) -> Iterator[list[RerankRequest]]:
    """Batches of lists to order; a query with fewer than two hits has none."""
    for start in range(0, len(query_ids), _RETRIEVED_AT_ONCE):
        queries = {
            query_id: dataset.queries[query_id] for query_id in query_ids[start : start + _RETRIEVED_AT_ONCE]
        }
        say(f"retrieving for {len(queries)} queries")
        found = retrieve(settings.first_stage, dataset, queries, settings.candidates.depth, is_timed=False)
        chosen = {
            query_id: draw(settings, hits, dataset.qrels.get(query_id, {}), query_id)
            for query_id, hits in found.hits.items()
            if len(hits) > 1
        }
        ids = list(chosen)
        for first in range(0, len(ids), settings.batch):
            batch = ids[first : first + settings.batch]
            texts = dataset.texts([doc_id for query_id in batch for doc_id, _ in chosen[query_id]])
            yield [
                RerankRequest(
                    query_id,
                    queries[query_id],
                    tuple(
                        Candidate(query_id, doc_id, texts[doc_id], score)
                        for doc_id, score in chosen[query_id]
                    ),
                )
                for query_id in batch
            ]


def draw(
    settings: Distillation, hits: Sequence[tuple[str, float]], grades: Mapping[str, int], query_id: str
) -> list[tuple[str, float]]:
    """The list made of a query's hits, in the order in which it is shown; the same for equal arguments."""
    spec = settings.candidates
    generator = random.Random(f"{settings.seed}:{query_id}")  # noqa: S311 - sampling, not secrets
    hits = hits[: spec.depth]
    size = min(spec.per_list, len(hits))
    reach = size if spec.at == "top" else round(size * (len(hits) / size) ** generator.random())
    ranks = generator.sample(range(reach), size)
    if settings.qrels_first:
        relevant = [rank for rank, (doc_id, _) in enumerate(hits) if grades.get(doc_id, 0) > 0]
        ranks = list(dict.fromkeys([*relevant, *ranks]))[:size]
    ranks.sort()
    if spec.shuffle:
        generator.shuffle(ranks)
    return [hits[rank] for rank in ranks]


def _ordered(
    settings: Distillation,
    dataset: Dataset,
    teacher: Reranker,
    requests: Sequence[RerankRequest],
    digest: str,
) -> list[dict[str, Any]]:
    teacher.prepare(requests)
    rankings = teacher.rerank(requests, StageClock())
    return [
        _line(
            request, ranking, dataset.qrels.get(request.query_id, {}) if settings.qrels_first else {}, digest
        )
        for request, ranking in zip(requests, rankings, strict=True)
    ]


def _line(request: RerankRequest, ranking: Ranking, grades: Mapping[str, int], digest: str) -> dict[str, Any]:
    """One list; `scores` are the teacher's, in the order of `ranking`."""
    place = {candidate.doc_id: index for index, candidate in enumerate(request.candidates)}
    ranked = sorted(
        zip(ranking.doc_ids, ranking.scores, strict=True),
        key=lambda scored: -max(0, grades.get(scored[0], 0)),
    )
    return {
        "query_id": request.query_id,
        "query": request.query,
        "passages": [candidate.text for candidate in request.candidates],
        "ranking": [place[doc_id] for doc_id, _ in ranked],
        "scores": [round(score, 6) for _, score in ranked],
        "doc_ids": [candidate.doc_id for candidate in request.candidates],
        "teacher": digest,
    }


def _append(file: IO[bytes], rows: Sequence[Mapping[str, Any]]) -> None:
    file.write(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))
    file.flush()
    os.fsync(file.fileno())
