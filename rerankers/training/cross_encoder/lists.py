"""Reads scored lists, as `rerankbench distill` writes them, and makes batches of query-passage pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rerankers.files.json_lines import Row, read_json_lines
from rerankers.training.data.records import read_ranking

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from rerankers.training.cross_encoder.settings import CrossEncoderSettings
    from rerankers.training.data.examples import ListChoice
    from rerankers.training.data.records import RankingRecord


@dataclass(frozen=True, slots=True)
class ScoredList:
    """A query and its passages, in input order, with a label each: the logits of the teacher's distribution.

    Attributes:
        record: the whole list that was read, with the first stage's order and judgements where it has them;
            None for passages that were drawn.
    """

    query: str
    passages: tuple[str, ...]
    labels: tuple[float, ...]
    record: RankingRecord | None = None


def read_scored(path: Path, settings: CrossEncoderSettings) -> list[ScoredList]:
    """Read the lists of a JSON-lines file with the teacher's scores, as labels by the settings.

    A label is the score divided by `temperature`, plus `source_bonus` for the passage the query was made
    from.

    Raises:
        InputError: `file:line`: a list is broken, or has no scores.
    """
    records = {record.line: record for record in read_ranking(path)}
    lists = []
    for line, values in read_json_lines(path):
        record = records.get(line)
        if record is None:
            continue
        row = Row(path, line, values)
        scores = _numbers(row, len(record.passages))
        source = _source(row) if settings.source_bonus else None
        labels = [0.0] * len(scores)
        for place, score in zip(record.ranking, scores, strict=True):
            bonus = settings.source_bonus * (source is not None and values["doc_ids"][place] == source)
            labels[place] = score / settings.temperature + bonus
        lists.append(ScoredList(record.query, record.passages, tuple(labels), record))
    return lists


def _numbers(row: Row, count: int) -> list[float]:
    """Return the teacher's scores of a row, in the order of `ranking`; fail unless there are `count`."""
    scores = row.values.get("scores")
    if not isinstance(scores, list) or len(scores) != count:
        row.fail("no 'scores' of all passages. Make lists with rerankbench distill")
    return [Row(row.path, row.line, {"scores": score}).number("scores") for score in scores]


def _source(row: Row) -> str:
    """Return the id of the passage that a row's query was made from."""
    ids, passages = row.get("doc_ids"), row.get("passages")
    if not isinstance(ids, list) or len(ids) != len(passages):
        row.fail("'doc_ids' must hold the id of each passage, which source_bonus needs")
    if row.values.get("source_doc_id") is not None:
        return row.identifier("source_doc_id")
    return row.identifier("query_id").rpartition("/")[0]


class ScoredExamples:
    """Scored lists as training examples: on every visit some of a list's passages are drawn.

    Args:
        lists: scored lists.
        choice: which passages are drawn.
    """

    def __init__(self, lists: Sequence[ScoredList], choice: ListChoice) -> None:
        self._lists, self._choice = lists, choice
        self.lengths: npt.NDArray[np.int64] = np.array(
            [max(map(len, scored.passages)) for scored in lists], dtype=np.int64
        )

    def visit(self, record: int, random: np.random.Generator) -> ScoredList:
        """Return a list of record `record` with only the passages that are drawn by `random`."""
        whole = self._lists[record]
        drawn = self._choice.draw(len(whole.passages), random)
        passages = tuple(whole.passages[place] for place in drawn)
        return ScoredList(whole.query, passages, tuple(whole.labels[place] for place in drawn))


class PairCollator:
    """A function that turns scored lists into tensors: tokenised pairs, and padded labels.

    Args:
        encoder: a `CrossEncoder` of sentence-transformers.
    """

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder

    def __call__(self, visits: Sequence[tuple[int, ScoredList]]) -> dict[str, torch.Tensor]:
        """Return a batch by argument name of `TrainableCrossEncoder.forward`; labels are padded by -inf."""
        lists = [scored for _, scored in visits]
        pairs = [(scored.query, passage) for scored in lists for passage in scored.passages]
        features = self._encoder.preprocess(pairs)
        labels = torch.full((len(lists), max(len(scored.labels) for scored in lists)), -torch.inf)
        for row, scored in enumerate(lists):
            labels[row, : len(scored.labels)] = torch.tensor(scored.labels)
        tensors = {name: value for name, value in features.items() if isinstance(value, torch.Tensor)}
        return {"labels": labels, **tensors}
