"""Turns ranked lists into token sequences with labels, and batches of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from rerankers.errors import InputError
from rerankers.training.data.batches import padded
from rerankers.training.data.examples import place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rerankers.training.data.examples import ListChoice
    from rerankers.training.data.records import RankingRecord
    from rerankers.training.text.prompts import TextPrompts

    Ints = npt.NDArray[np.int64]

IGNORED = -100  # label of a token that is not learnt


@dataclass(frozen=True, slots=True)
class TextExample:
    """One list as it is shown once: token ids, and for each the next token of the answer, else `IGNORED`."""

    token_ids: Ints
    labels: Ints


class TextExamples:
    """Lists with a gold order, whose prompts and answers are text.

    Args:
        records: lists.
        prompts: writes them.
        choice: which passages of a list are shown, in which order.
        max_length: longest sequence.

    Raises:
        InputError: a sequence is too long, or a list too long for letters.
    """

    def __init__(
        self, records: Sequence[RankingRecord], prompts: TextPrompts, choice: ListChoice, max_length: int
    ) -> None:
        self._records, self._prompts = records, prompts
        self._choice, self._max_length = choice, max_length
        longest = [self._sequence(number, self._longest(record)) for number, record in enumerate(records)]
        self.lengths = np.array([len(sequence.token_ids) for sequence in longest], dtype=np.int64)

    def visit(self, record: int, random: np.random.Generator) -> TextExample:
        """Return the prompt of a record's passages, drawn by `random`, followed by their gold order."""
        drawn = self._choice.draw(len(self._records[record].passages), random)
        return self._sequence(record, drawn)

    def _sequence(self, number: int, drawn: Ints) -> TextExample:
        """Return the prompt and answer of record `number` with the passages at positions `drawn`.

        Raises:
            InputError: the sequence is too long, or has more passages than letters.
        """
        record = self._records[number]
        where = {int(passage): place for place, passage in enumerate(drawn)}
        order = [where[passage] for passage in record.ranking if passage in where]
        if self._prompts.uses_letters and len(order) > 26:
            raise InputError(
                f"{place_of(record, number)}: {len(order)} passages, and there are 26 letters. Set "
                "data.list_size to 26 or less."
            )
        passages = [record.passages[passage] for passage in drawn]
        written = self._prompts.write(record.query, passages, order)
        if len(written.token_ids) > self._max_length:
            raise InputError(
                f"{place_of(record, number)}: needs {len(written.token_ids)} tokens; raise max_length "
                f"({self._max_length}) or lower passage_words or data.list_size"
            )
        ids = np.array(written.token_ids, dtype=np.int64)
        labels = np.full(len(ids), IGNORED, dtype=np.int64)
        labels[written.prompt_length - 1 : -1] = ids[written.prompt_length :]
        return TextExample(ids, labels)

    def _longest(self, record: RankingRecord) -> Ints:
        """Return the positions of the passages that make about the longest prompt of a record."""
        count = self._choice.count(len(record.passages))
        if not self._choice.shuffle:
            return np.arange(count)
        longest = np.argsort([-len(passage) for passage in record.passages], kind="stable")
        return np.sort(longest[:count])


def collate(visits: Sequence[tuple[int, TextExample]]) -> dict[str, torch.Tensor]:
    """Return visited examples as a batch of tensors by argument name, padded on the right."""
    examples = [example for _, example in visits]
    return {
        "token_ids": torch.from_numpy(padded([example.token_ids for example in examples], 0)),
        "labels": torch.from_numpy(padded([example.labels for example in examples], IGNORED)),
    }
