"""Turns records into training examples: token ids, with the passages that stand among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rerankers.errors import InputError
from rerankers.pe_rank.prompt import PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from rerankers.pe_rank.prompt import Prompt, PromptWriter
    from rerankers.training.data.records import AlignmentRecord, RankingRecord
    from rerankers.training.data.vectors import TextRows

    Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sequenced:
    """One sequence of tokens and passages.

    Attributes:
        token_ids: 0 where a passage stands.
        sources: row of the passage in each column, -1 where a token stands.
        end: column of the prompt's last token.
        labels: the next token where it is to be predicted, else -100; None where nothing is predicted.
    """

    token_ids: Ints
    sources: Ints
    end: int
    labels: Ints | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """One record as it is shown on one visit; rows count the training's passages and queries.

    Attributes:
        sequence: the prompt without text and what follows it.
        passages: rows of the passages that take part.
        gold: the same rows, best first; None where nothing is ranked.
        query: the query's row; None where it is not embedded.
        with_text: the prompt with text and what follows it, if it is trained on.
    """

    sequence: Sequenced
    passages: Ints
    gold: Ints | None = None
    query: int | None = None
    with_text: Sequenced | None = None


class Examples(Protocol):
    """Records that a training can show; `lengths` (records,) is about how long their sequences are."""

    lengths: Ints

    def visit(self, record: int, random: np.random.Generator) -> Any:
        """Return the example that a record gives on one visit; everything random is drawn from `random`."""


@dataclass(frozen=True, slots=True)
class ListChoice:
    """The rule that selects which passages of a list a visit shows; see `settings.DataSettings`."""

    size: int | None
    shuffle: bool

    def count(self, available: int) -> int:
        """Return the number of passages shown of a list that has `available`."""
        return available if self.size is None else min(self.size, available)

    def draw(self, available: int, random: np.random.Generator) -> Ints:
        """Return the positions of the passages shown of a list, in the order in which they are shown."""
        if self.shuffle:
            return random.permutation(available)[: self.count(available)]
        return np.arange(self.count(available))


class RankingExamples:
    """Lists with a gold order, for the stages `query` and `rank`.

    Args:
        records: lists.
        writer: writes the prompts.
        passages: numbers the passages.
        queries: numbers the queries; None if they are not embedded.
        choice: which passages of a list are shown.
        with_text: show the prompt with the passages' text too.
        without_passages: show a prompt without any passage in it (`query`).
        own_messages: use the records' own messages where they have some.
        max_length: longest sequence.

    Raises:
        InputError: a sequence is too long.
    """

    def __init__(
        self,
        records: Sequence[RankingRecord],
        writer: PromptWriter,
        passages: TextRows,
        queries: TextRows | None,
        choice: ListChoice,
        *,
        with_text: bool,
        without_passages: bool,
        own_messages: bool,
        max_length: int,
    ) -> None:
        self._records, self._writer, self._choice = records, writer, choice
        self._with_text, self._without_passages = with_text, without_passages
        self._own_messages, self._max_length = own_messages, max_length
        self._rows = [passages.add(record.passages) for record in records]
        self._queries = None if queries is None else queries.add(record.query for record in records)
        places = [np.argsort(np.array(record.ranking, dtype=np.int64)) for record in records]
        self._places = places  # of each passage in the gold order
        self._prompts = [self._prompt(number, record) for number, record in enumerate(records)]
        text_prompts = [  # too long a visit must not end a training
            self._text_prompt(number, self._longest(record))
            for number, record in enumerate(records if with_text else ())
        ]
        longest = text_prompts if with_text else self._prompts
        self.lengths = np.array([len(prompt.token_ids) for prompt in longest], dtype=np.int64)

    def visit(self, record: int, random: np.random.Generator) -> Example:
        """Return an example of a list: its prompt, followed by the passages in gold order."""
        drawn = self._choice.draw(len(self._rows[record]), random)
        rows = self._rows[record][drawn]
        query = None if self._queries is None else int(self._queries[record])
        prompt = self._prompts[record]
        if self._without_passages:
            return Example(_teacher_forced(prompt, rows[:0], rows[:0]), rows, query=query)
        gold = rows[np.argsort(self._places[record][drawn])]
        with_text = None
        if self._with_text:
            with_text = _teacher_forced(self._text_prompt(record, drawn), rows, gold)
        return Example(_teacher_forced(prompt, rows, gold), rows, gold, query, with_text)

    def _prompt(self, number: int, record: RankingRecord) -> Prompt:
        """Return the prompt without text of a record: written anew, or from the record's own messages."""
        count = 0 if self._without_passages else self._choice.count(len(record.passages))
        messages = record.messages_without_text if self._own_messages else None
        if messages is None or self._without_passages:
            return self._checked(number, self._writer.write(record.query, count), count)
        return self._checked(number, self._writer.write_messages(_prompt_messages(messages), count), count)

    def _text_prompt(self, number: int, drawn: Ints) -> Prompt:
        """Return the prompt with text of record `number`, which shows the passages at positions `drawn`."""
        record = self._records[number]
        messages = record.messages_with_text if self._own_messages else None
        if messages is None:
            texts = [record.passages[position] for position in drawn]
            return self._checked(number, self._writer.write(record.query, len(drawn), texts), len(drawn))
        return self._checked(
            number, self._writer.write_messages(_prompt_messages(messages), len(drawn)), len(drawn)
        )

    def _longest(self, record: RankingRecord) -> Ints:
        """Return the positions of the passages that make the longest prompt with text of a record."""
        if not self._choice.shuffle:
            return np.arange(self._choice.count(len(record.passages)))
        longest = np.argsort([-len(passage) for passage in record.passages], kind="stable")
        return np.sort(longest[: self._choice.count(len(record.passages))])

    def _checked(self, number: int, prompt: Prompt, count: int) -> Prompt:
        """Return the prompt, after a check that it and `count` passages behind it fit the longest sequence.

        Raises:
            InputError: they do not.
        """
        if len(prompt.token_ids) + count > self._max_length:
            place = place_of(self._records[number], number)
            raise InputError(
                f"{place}: needs {len(prompt.token_ids) + count} tokens; raise max_length "
                f"({self._max_length}) or lower data.list_size"
            )
        return prompt


class AlignmentExamples:
    """Conversations whose last turn is to be predicted from passages' embeddings, for the stage `align`.

    Args:
        records: conversations.
        writer: writes them as token ids.
        passages: numbers the passages.
        max_length: longest sequence, at which an answer is cut.

    Raises:
        InputError: a conversation leaves no room for a token of its answer.
    """

    def __init__(
        self, records: Sequence[AlignmentRecord], writer: PromptWriter, passages: TextRows, max_length: int
    ) -> None:
        self._records, self._writer, self._max_length = records, writer, max_length
        self._rows = [passages.add(record.extra_texts) for record in records]
        self._ends = [self._end(number, record) for number, record in enumerate(records)]
        lengths = [sum(len(message["content"]) for message in record.messages) for record in records]
        self.lengths = np.array(lengths, dtype=np.int64)

    def count_cut(self, numbers: Ints) -> int:
        """Return how many of the conversations with these numbers are longer than the longest sequence."""
        lengths = (
            len(
                self._writer.write_messages(self._records[number].messages, len(self._rows[number])).token_ids
            )
            for number in numbers
        )
        return sum(length > self._max_length for length in lengths)

    def visit(self, record: int, random: np.random.Generator) -> Example:
        """Return a conversation with a label for each token of the answer, cut at the longest sequence."""
        rows = self._rows[record]
        whole = self._writer.write_messages(self._records[record].messages, len(rows))
        sequence = sequenced(whole, rows, rows[:0])
        ids, sources = sequence.token_ids[: self._max_length], sequence.sources[: self._max_length]
        end = self._ends[record]
        labels = np.full(len(ids), -100, dtype=np.int64)
        labels[end:-1] = np.where(sources[end + 1 :] < 0, ids[end + 1 :], -100)
        return Example(Sequenced(ids, sources, end, labels), rows)

    def _end(self, number: int, record: AlignmentRecord) -> int:
        """Return the column of the last token before a conversation's answer.

        Raises:
            InputError: the prompt leaves no room for an answer.
        """
        prompt = _prompt_messages(record.messages)
        count = sum(message["content"].count(PLACEHOLDER) for message in prompt)
        length = len(self._writer.write_messages(prompt, count).token_ids)
        if length >= self._max_length:
            raise InputError(
                f"{place_of(record, number)}: has {length} tokens before its answer; raise max_length "
                f"({self._max_length}) above that"
            )
        return length - 1


def sequenced(prompt: Prompt, rows: Ints, placed: Ints) -> Sequenced:
    """Return a sequence: a prompt with passages in its placeholders, followed by more passages.

    Args:
        prompt: token ids and positions of its placeholders.
        rows: passages for the placeholders.
        placed: passages behind the prompt, as their rows; the last of them is the sequence's end.
    """
    token_ids = np.zeros(len(prompt.token_ids) + len(placed), dtype=np.int64)
    token_ids[: len(prompt.token_ids)] = prompt.token_ids
    sources = np.full(len(token_ids), -1, dtype=np.int64)
    sources[list(prompt.placeholders)] = rows
    sources[len(prompt.token_ids) :] = placed
    token_ids[sources >= 0] = 0
    return Sequenced(token_ids, sources, len(token_ids) - 1)


def _teacher_forced(prompt: Prompt, rows: Ints, gold: Ints) -> Sequenced:
    """Return a prompt followed by the gold order, teacher-forced; its end is the prompt's last token.

    The last gold passage is left out, since no token follows it.
    """
    whole = sequenced(prompt, rows, gold[:-1])
    return Sequenced(whole.token_ids, whole.sources, len(prompt.token_ids) - 1)


def place_of(record: RankingRecord | AlignmentRecord, number: int) -> str:
    """Return the place of a record in the training data, such as "data.train, line 3", for errors."""
    return f"data.train, record {number + 1}" if record.line is None else f"data.train, line {record.line}"


def _prompt_messages(messages: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
    """Return the messages of a conversation without the assistant's answer at its end."""
    return messages[:-1] if messages[-1]["role"] == "assistant" else messages
