"""A PyTerrier transformer that runs any reranker (Macdonald and Tonellotto, ICTIR 2020).

bm25 % 100 >> pt.text.get_text(dataset, "text") >> RerankTransformer("cross-encoder", {"model": ...})
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.errors import InputError, MissingExtraError
from rerankers.interface import Candidate, RerankRequest
from rerankers.registry import create
from rerankers.stages import StageClock
from rerankers.text.redaction import redacted

try:
    import pyterrier as pt
except ModuleNotFoundError as missing:
    raise MissingExtraError("PyTerrier", "pyterrier") from missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from rerankers.stages import Stage

NEEDED = ("qid", "query", "docno", "text")


class RerankTransformer(pt.Transformer):  # type: ignore[misc]
    """A PyTerrier transformer that reranks each query's rows: new `score`, `rank` (from 0) and order.

    The input order is that of `score` if there is one, else that of the rows. All other columns are kept.

    Args:
        reranker: registered name, or `module:Class`.
        options: its constructor's options.

    Attributes:
        stage_seconds: seconds by stage of each query of the latest frame, by query id.
    """

    def __init__(self, reranker: str, options: Mapping[str, object] | None = None) -> None:
        super().__init__()
        self._call = f"{type(self).__name__}({reranker!r}{f', {dict(options)!r}' if options else ''})"
        self._reranker = create(reranker, options or {})
        self._clock = StageClock()
        if self._reranker.device != "cpu":
            from rerankers.models.devices import synchroniser

            self._clock = StageClock(synchronise=synchroniser(self._reranker.device))
        self.stage_seconds: dict[str, dict[Stage, float]] = {}

    def __repr__(self) -> str:
        """Return the call that makes this transformer, without secrets; it is its name in experiments."""
        return redacted(self._call)

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the frame with new `score` and `rank` columns, each query's rows sorted best first.

        Raises:
            InputError: a column is missing, or a query lists a passage twice.
        """
        missing = [name for name in NEEDED if name not in frame.columns]
        if missing:
            raise InputError(
                f"the frame has no column {missing[0]!r}; text comes from pt.text.get_text(dataset, 'text')"
            )
        if "score" in frame.columns:
            frame = frame.sort_values("score", ascending=False, kind="stable")
        requests = [_request(str(query_id), rows) for query_id, rows in frame.groupby("qid", sort=False)]
        rankings = self._reranker.rerank(requests, self._clock)
        self.stage_seconds = {ranking.query_id: dict(ranking.stage_seconds) for ranking in rankings}
        scored = {
            (ranking.query_id, doc_id): (score, rank)
            for ranking in rankings
            for rank, (doc_id, score) in enumerate(zip(ranking.doc_ids, ranking.scores, strict=True))
        }
        keys = list(zip(frame["qid"].astype(str), frame["docno"].astype(str), strict=True))
        order = {ranking.query_id: position for position, ranking in enumerate(rankings)}
        ranked = frame.assign(score=[scored[key][0] for key in keys], rank=[scored[key][1] for key in keys])
        positions = sorted(range(len(keys)), key=lambda i: (order[keys[i][0]], scored[keys[i]][1]))
        return ranked.iloc[positions].reset_index(drop=True)


def _request(query_id: str, rows: pd.DataFrame) -> RerankRequest:
    """Return the rerank request of one query's rows; without a `score` column, scores descend by one to 1."""
    count = len(rows)
    scores = rows["score"] if "score" in rows.columns else range(count, 0, -1)
    candidates = (
        Candidate(query_id, str(doc_id), str(text), float(score))
        for doc_id, text, score in zip(rows["docno"], rows["text"], scores, strict=True)
    )
    return RerankRequest(query_id, str(rows["query"].iloc[0]), tuple(candidates))
