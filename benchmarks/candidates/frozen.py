"""The frozen candidate set (`Pool`): the queries and the passages that every reranker gets for each of them.

`benchmarks.candidates.building` builds one, `benchmarks.candidates.pool_folder` stores it on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from benchmarks.candidates.pool_lines import digest_of, pool_lines
from benchmarks.candidates.scratch import PoolCandidates, ScratchCandidates
from rerankers.interface import RerankRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rerankers.interface import Candidate


@dataclass(frozen=True)
class Pool:
    """A frozen candidate set: queries with candidates and grades, identified by a digest of this content.

    Attributes:
        digest: 16 hex digits; two pools with the same digest are the same to every reranker and measure.
        dataset: name of the dataset.
        first_stage: what retrieved the candidates, in JSON values.
        depth: most candidates a query has.
        queries: text by query id, in the dataset's order.
        qrels: grade by doc id by query id; empty for a dataset without judgements.
        candidates: best first, by query id; every query has an entry, perhaps an empty one. Each access reads
            one query's candidates from a scratch file.
        unjudged: number of the dataset's queries that were left out because they have no judgements.
        retrieve_seconds: time of the first stage, by query id; empty if it was not measured.
        fetch_seconds: time of looking up the texts, by query id.
        instructions: relevance instruction by query id, for queries that have one.
    """

    digest: str
    dataset: str
    first_stage: dict[str, Any]
    depth: int
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]
    candidates: PoolCandidates
    unjudged: int
    retrieve_seconds: dict[str, float]
    fetch_seconds: dict[str, float]
    instructions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def freeze(
        cls,
        *,
        dataset: str,
        first_stage: Mapping[str, Any],
        depth: int,
        queries: Mapping[str, str],
        qrels: Mapping[str, Mapping[str, int]],
        candidates: Mapping[str, Iterable[Candidate]],
        unjudged: int = 0,
        retrieve_seconds: Mapping[str, float] | None = None,
        fetch_seconds: Mapping[str, float] | None = None,
        instructions: Mapping[str, str] | None = None,
    ) -> Pool:
        """Build a `Pool` from its content and compute its digest.

        A query that is missing from `candidates` gets an empty entry.
        """
        frozen = ScratchCandidates((query_id, candidates.get(query_id, ())) for query_id in queries)
        grades = {query_id: dict(qrels[query_id]) for query_id in queries if query_id in qrels}
        stated = {query_id: text for query_id, text in (instructions or {}).items() if query_id in queries}
        return cls(
            digest=digest_of(pool_lines(queries, grades, frozen, stated)),
            dataset=dataset,
            first_stage=dict(first_stage),
            depth=depth,
            queries=dict(queries),
            qrels=grades,
            candidates=frozen,
            unjudged=unjudged,
            retrieve_seconds=dict(retrieve_seconds or {}),
            fetch_seconds=dict(fetch_seconds or {}),
            instructions=stated,
        )

    def requests(self, instruction: str | None = None) -> Sequence[RerankRequest]:
        """Return a lazy sequence with one rerank request per query, in order, empty queries included.

        Args:
            instruction: relevance instruction of each request whose query has none in `instructions`.
        """
        return _Requests(self, instruction)


class _Requests(Sequence[RerankRequest]):
    """The rerank requests of a candidate set, one per query. Each access reads one query's candidates."""

    def __init__(self, pool: Pool, instruction: str | None) -> None:
        self._pool, self._ids, self._instruction = pool, list(pool.queries), instruction

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> RerankRequest: ...

    @overload
    def __getitem__(self, index: slice) -> list[RerankRequest]: ...

    def __getitem__(self, index: int | slice) -> RerankRequest | list[RerankRequest]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        query_id = self._ids[index]
        candidates = self._pool.candidates[query_id]
        instruction = self._pool.instructions.get(query_id, self._instruction)
        return RerankRequest(query_id, self._pool.queries[query_id], candidates, instruction)
