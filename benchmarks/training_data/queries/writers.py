"""Writers of questions about passages: titles, a chat model, or a sequence-to-sequence model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rerankers.interface import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.datasets.dataset import Dataset
    from rerankers.endpoints.prices import Budget

WritingFault = Literal["no_text", "missing", "surplus", "malformed", "cut_off", "refused"]
"""Why a question is not usable as it was written: its passage has no text, it was not written, was one too
many, is not a question, was cut off by the limit of tokens, or was withheld by the endpoint."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question written about a passage, with its fault if it cannot be used."""

    text: str
    fault: WritingFault | None = None


class QuestionWriter(ABC):
    """The base of writers of questions about passages."""

    batch: int = 256
    """Number of passages per call of `write`."""

    @abstractmethod
    def write(self, passages: Sequence[tuple[str, str]]) -> list[list[Question]]:
        """Return the questions about each passage, (doc id, text); equal arguments give equal questions.

        Raises:
            BackendError: an endpoint failed for good.
            ModelError: a model cannot take a passage.
        """

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """Return a description of the writer for records, in JSON values."""

    def usage(self) -> Usage:
        """Return the calls, tokens and dollars of all questions so far."""
        return Usage()

    def pay_from(self, budget: Budget) -> None:  # noqa: B027 - most writers cost nothing
        """Charge all further calls to a budget; a call that could exceed it is not made.

        Raises:
            InputError: the price of the calls is not known.
        """

    def close(self) -> None:  # noqa: B027 - most writers hold nothing that needs closing
        """Release connections and files."""


class TitleWriter(QuestionWriter):
    """A question writer that returns the title of each passage.

    Raises:
        InputError: the dataset's passages have no such field.
    """

    def __init__(self, dataset: Dataset, field: str) -> None:
        self._titles = dataset.fields(field)

    def write(self, passages: Sequence[tuple[str, str]]) -> list[list[Question]]:
        """Return the title of each passage as its only question; "" if it has none."""
        return [[Question(self._titles.get(doc_id, ""))] for doc_id, _ in passages]

    def describe(self) -> dict[str, object]:
        """Return an empty description, since titles depend on the collection alone."""
        return {}
