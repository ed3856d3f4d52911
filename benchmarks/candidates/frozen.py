"""The frozen candidate pool: which passages every reranker gets for which query, once and for all.

`benchmarks.candidates.building` makes one, `benchmarks.candidates.pool_folder` keeps it on disk.
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
    """Queries with their candidates and grades, named by a digest of all of it.

    Attributes:
        digest: 16 hex digits; two pools with the same digest are the same to every reranker and measure.
        dataset: name of the dataset.
        first_stage: what retrieved the candidates, in JSON values.
        depth: most candidates a query has.
        queries: text by query id, in the dataset's order.
        qrels: grade by doc id by query id; empty for a dataset without judgements.
        candidates: best first, by query id; every query has an entry, perhaps an empty one. They are read
            when asked for, so that memory does not grow with their number.
        unjudged: how many of the dataset's queries were left out because nobody judged them.
        retrieve_seconds: what the first stage took, by query id; empty where nobody measured it.
        fetch_seconds: what looking up the texts took, by query id.
        instructions: what the passages of a query are to be judged by, for queries with one of their own.
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
        """Make a pool and compute its digest; queries that `candidates` lacks get none."""
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
        """Return one request per query, in order, queries without candidates included; made when asked for.

        Args:
            instruction: what every request says that passages are to be judged by, but for those of queries
                with an instruction of their own.
        """
        return _Requests(self, instruction)


class _Requests(Sequence[RerankRequest]):
    """A pool's requests; each is read when it is its turn."""

    def __init__(self, pool: Pool, instruction: str | None) -> None:
        self._pool, self._ids, self._instruction = pool, list(pool.queries), instruction

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, place: int) -> RerankRequest: ...

    @overload
    def __getitem__(self, place: slice) -> list[RerankRequest]: ...

    def __getitem__(self, place: int | slice) -> RerankRequest | list[RerankRequest]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        query_id = self._ids[place]
        candidates = self._pool.candidates[query_id]
        instruction = self._pool.instructions.get(query_id, self._instruction)
        return RerankRequest(query_id, self._pool.queries[query_id], candidates, instruction)
