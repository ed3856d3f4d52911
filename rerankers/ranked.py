"""A ranking together with its passages, for people: it prints as a table and becomes a DataFrame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from rerankers.errors import InputError
from rerankers.text.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pandas import DataFrame

SHOWN_CHARACTERS = 72  # of a passage in the printed table


class RankedPassage(NamedTuple):
    """A passage with its rank, counted from 1, and its score."""

    rank: int
    doc_id: str
    score: float
    text: str


class Ordered(Protocol):
    """Doc ids with their scores, best first, as a `Ranking` has them."""

    @property
    def doc_ids(self) -> tuple[str, ...]:
        """The doc ids, best first."""

    @property
    def scores(self) -> tuple[float, ...]:
        """The score of each doc id."""


AnyRanking = TypeVar("AnyRanking", bound=Ordered)


@dataclass(frozen=True, slots=True)
class RankedPassages(Generic[AnyRanking]):
    """The ranked passages of one query, best first; a loop over it gives `RankedPassage`, `print` a table.

    Attributes:
        ranking: the ranking itself, with stage times and usage.
        texts: the passages by doc id.
    """

    ranking: AnyRanking
    texts: Mapping[str, str]

    def __iter__(self) -> Iterator[RankedPassage]:
        pairs = zip(self.ranking.doc_ids, self.ranking.scores, strict=True)
        for rank, (doc_id, score) in enumerate(pairs, 1):
            yield RankedPassage(rank, doc_id, score, self.texts[doc_id])

    def __len__(self) -> int:
        return len(self.ranking.doc_ids)

    def __str__(self) -> str:
        width = max([6, *(len(printable(doc_id)) for doc_id in self.ranking.doc_ids)])
        lines = [f"{'rank':>4}  {'score':>9}  {'doc id':{width}}  passage"]
        for rank, doc_id, score, text in self:
            excerpt = printable(" ".join(text.split()))
            if len(excerpt) > SHOWN_CHARACTERS:
                excerpt = f"{excerpt[: SHOWN_CHARACTERS - 1]}…"
            lines.append(f"{rank:>4}  {score:>9.4f}  {printable(doc_id):{width}}  {excerpt}".rstrip())
        return "\n".join(lines)

    def to_frame(self) -> DataFrame:
        """Return a pandas DataFrame with the columns rank, doc_id, score and text.

        Raises:
            InputError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise InputError("a DataFrame needs pandas; pip install pandas") from error
        return pandas.DataFrame([row._asdict() for row in self], columns=list(RankedPassage._fields))
