"""Reads training data of E2Rank from JSON lines, plain or compressed, and makes batches of it.

    published     {"query": ..., "document": [...], "ranking": [...], "source": ...}
    this project  {"query": ..., "passages": [...], "ranking": [...]}, as `rerankbench distill` writes it

`ranking` holds all passages' positions, best first, counted from 0 or from 1. `source` chooses the sentences
of the texts; without one they are those of unknown data. Lines `{"about": {...}}` are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rerankers.errors import InputError
from rerankers.files.json_lines import Row, read_json_lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from rerankers.training.e2rank.texts import TrainingTexts


@dataclass(frozen=True, slots=True)
class ListRecord:
    """A query, its passages, their positions by relevance (best first, from 0), and the data's source."""

    query: str
    passages: tuple[str, ...]
    ranking: tuple[int, ...]
    source: str


@dataclass(frozen=True, slots=True)
class ListExample:
    """One list as it is shown once, as token ids.

    `ranking` holds positions among the passages shown, best first.
    """

    query: list[int]
    passages: list[list[int]]
    prompt: list[int]
    ranking: list[int]


def read_lists(path: Path, size: int | None) -> list[ListRecord]:
    """Return the lists of a JSON-lines file, after a check of their number of passages.

    Each list has at least `size` passages; for None, all have the same number.

    Raises:
        InputError: `file:line`: broken JSON, a key missing or of the wrong kind, an empty query, a ranking
            that is no permutation, or too few passages.
    """
    records: list[ListRecord] = []
    for line, values in read_json_lines(path):
        if set(values) == {"about"}:
            continue
        row = Row(path, line, values)
        records.append(_record(row))
        count, needed = len(records[-1].passages), size or len(records[0].passages)
        if count < max(2, needed) or (size is None and count != needed):
            row.fail(f"the list has {count} passages, and {max(2, needed)} are needed. Set data.list_size")
    if not records:
        raise InputError.at(path, None, "the file holds no list; check how it was made")
    return records


def _record(row: Row) -> ListRecord:
    """Return the record of a row in either form, its ranking counted from 0."""
    query = row.text("query")
    if not query.strip():
        row.fail(f"'query' is {query!r}. Write a query, or remove the line")
    key = "document" if "document" in row.values else "passages"
    passages, ranking = row.get(key), row.get("ranking")
    if not isinstance(passages, list) or not all(isinstance(text, str) for text in passages):
        row.fail(f"{key!r} must be a list of texts")
    if not isinstance(ranking, list) or not all(type(place) is int for place in ranking):
        row.fail("'ranking' must be a list of whole numbers: the passages' positions, best first")
    first = 0 if 0 in ranking else 1
    if sorted(ranking) != list(range(first, first + len(passages))):
        row.fail(f"'ranking' must name each of the {len(passages)} passages once, counted from 0 or from 1")
    source = row.values.get("source", "unknown")
    return ListRecord(query, tuple(passages), tuple(place - first for place in ranking), str(source))


class ListExamples:
    """Lists as training examples; see `rerankers.training.data.batches.Visits`.

    Args:
        records: lists.
        texts: writes token ids.
        size: passages shown of a list; None shows all.

    Attributes:
        lengths: of the passages in characters, by which lists of like length come into one batch.
    """

    def __init__(self, records: Sequence[ListRecord], texts: TrainingTexts, size: int | None) -> None:
        self._records, self._texts, self._size = records, texts, size
        self.lengths: npt.NDArray[np.int64] = np.array(
            [sum(map(len, record.passages)) for record in records], dtype=np.int64
        )

    def visit(self, record: int, random: np.random.Generator) -> Any:
        """Return the `ListExample` of a record.

        Of a list that is too long, passages are drawn by `random`.
        """
        ranked = self._records[record]
        count = len(ranked.passages)
        chosen = list(range(count))
        if self._size is not None and self._size < count:
            chosen = sorted(random.permutation(count)[: self._size].tolist())
        passages = [ranked.passages[i] for i in chosen]
        place = {position: i for i, position in enumerate(chosen)}
        return ListExample(
            self._texts.query(ranked.source, ranked.query),
            [self._texts.passage(text) for text in passages],
            self._texts.prompt(ranked.source, ranked.query, passages),
            [place[i] for i in ranked.ranking if i in place],
        )


def collate(visits: Sequence[tuple[int, Any]]) -> dict[str, torch.Tensor]:
    """Return visited lists as a batch of tensors, by argument name of `TrainableE2Rank.forward`.

    All lists show the same number of passages.
    """
    examples: list[ListExample] = [example for _, example in visits]
    batch: dict[str, torch.Tensor] = {}
    for name, rows in (
        ("query", [example.query for example in examples]),
        ("passage", [passage for example in examples for passage in example.passages]),
        ("prompt", [example.prompt for example in examples]),
    ):
        width = max(map(len, rows))
        plural = "queries" if name == "query" else f"{name}s"
        batch[plural] = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        batch[f"{name}_ends"] = torch.tensor([len(row) - 1 for row in rows])
    return batch | {"ranking": torch.tensor([example.ranking for example in examples])}
