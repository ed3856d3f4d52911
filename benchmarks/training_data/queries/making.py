"""Makes training queries from the passages of a collection, in a file with which a run can be resumed.

The file lies beside the lists, `NAME.queries.jsonl`. Its first line describes how the questions were made,
each other line holds the questions about one passage, in the order in which passages were drawn:

    {"doc_id": "d7", "questions": [{"query_id": "d7/0", "query": "..."},
                                   {"query_id": "d7/1", "query": "...", "fault": "duplicate"}]}

A question with a `fault` is not used. One that repeats a query of an evaluation names it (`repeats`).
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, assert_never

from benchmarks.measuring.progress import say
from benchmarks.training_data.appended import Appended
from benchmarks.training_data.queries.near_duplicates import normalized_words
from benchmarks.training_data.queries.settings import (
    ChatQuestions,
    Seq2SeqQuestions,
    Titles,
    defining_settings,
)
from benchmarks.training_data.queries.writers import Question, TitleWriter
from rerankers.progress import Activity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.datasets.dataset import Dataset
    from benchmarks.training_data.queries.evaluation_queries import ProtectedQueries
    from benchmarks.training_data.queries.settings import MadeQuerySource
    from benchmarks.training_data.queries.writers import QuestionWriter
    from rerankers.endpoints.prices import Budget

REPEATS = "test_query"
"""The fault of a question that repeats a query of the evaluation."""


class MadeQueries(NamedTuple):
    """Training queries made from passages.

    Attributes:
        texts: query by query id, in the order in which they were made.
        sources: doc id of the passage that a query was made from, by query id.
        counts: numbers of passages read, questions written and used, and faults by kind.
    """

    texts: dict[str, str]
    sources: dict[str, str]
    counts: dict[str, Any]


def open_writer(source: MadeQuerySource, dataset: Dataset, seed: int) -> QuestionWriter:
    """Create the question writer for a source's settings, and load its model.

    Raises:
        InputError: an option does not fit, or the passages have no titles.
        ModelError: a model does not load.
        MissingExtraError: the `openai` package is not installed.
    """
    match source:
        case Titles():
            return TitleWriter(dataset, source.field)
        case ChatQuestions():
            from benchmarks.training_data.queries.chat import ChatWriter

            return ChatWriter(source)
        case Seq2SeqQuestions():
            from benchmarks.training_data.queries.seq2seq import Seq2SeqWriter

            return Seq2SeqWriter(source, seed)
        case _:
            assert_never(source)


def queries_file(out: Path) -> Path:
    """Return the path of the questions file that belongs to the lists in `out`."""
    return out.with_name(f"{out.name.removesuffix('.jsonl')}.queries.jsonl")


def question_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Check that a row of the file has a passage id and questions of the right types, and return it.

    Raises:
        TypeError, KeyError: it has not.
    """
    texts = [
        row["doc_id"],
        *(question[key] for question in row["questions"] for key in ("query_id", "query")),
    ]
    texts += [question["fault"] for question in row["questions"] if "fault" in question]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("ids, queries and faults are texts")
    return dict(row)


class QueryMaker:
    """A maker of training queries: a writer's questions about random passages, filtered by rules.

    Args:
        source: settings of the queries' source.
        dataset: the passages.
        protected: queries of evaluations, which no question may repeat.
        seed: seed of the order of passages, and of a model's draws.
        path: the questions file.

    Raises:
        InputError: the settings do not fit, or the file was made with others.
        ModelError: a model does not load.
    """

    def __init__(
        self, source: MadeQuerySource, dataset: Dataset, protected: ProtectedQueries, seed: int, path: Path
    ) -> None:
        self._source, self._dataset, self._protected = source, dataset, protected
        self._seed, self._path = seed, path
        self._writer = open_writer(source, dataset, seed)
        self._seen: set[tuple[str, ...]] = set()

    def make(self, needed: int | None, budget: Budget | None) -> MadeQueries:
        """Make queries, resuming the file, until there are `needed` ones or the passages end; return all.

        Args:
            needed: number of queries; None for one pass over all passages.
            budget: dollars that calls may cost; None for no limit.

        Raises:
            InputError: the price of calls is not known, though there is a budget.
            BackendError: an endpoint failed for good, or the budget is spent; rows that were written stay.
        """
        try:
            if budget is not None:
                self._writer.pay_from(budget)
            with Appended(self._path, self._about(), question_row) as file:
                return self._make(file, needed)
        finally:
            self._writer.close()

    def _about(self) -> dict[str, Any]:
        """Return a description of how the questions are made, with a digest of it."""
        about = {
            "queries": dict(defining_settings(self._source)),
            "dataset": {"name": self._dataset.name, "passages": self._dataset.fingerprint},
            "test_queries": self._protected.identity(),
            "seed": self._seed,
            "model_revision": self._writer.describe().get("revision"),
        }
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
        return {"digest": digest, **about}

    def _make(self, file: Appended[dict[str, Any]], needed: int | None) -> MadeQueries:
        """Append rows to the file batch by batch until enough questions are usable; return the queries."""
        rows = file.rows
        used = sum(map(self._count, rows))
        todo = self._undone({row["doc_id"] for row in rows}, needed is not None and used >= needed)
        with Activity("queries", needed or len(rows) + len(todo), used if needed else len(rows)) as progress:
            doc_ids = iter(todo)
            while (needed is None or used < needed) and (batch := list(islice(doc_ids, self._writer.batch))):
                written = self._written(batch)
                file.append(written)
                more = sum(sum("fault" not in question for question in row["questions"]) for row in written)
                used += more
                progress.advance(more if needed else len(batch))
        return self._queries_of(rows)

    def _written(self, doc_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Let the writer write questions about some passages.

        Return their rows, also for passages without words.
        """
        texts = self._dataset.texts(doc_ids)
        passages = [(doc_id, texts[doc_id]) for doc_id in doc_ids if normalized_words(texts[doc_id])]
        answers = self._writer.write(passages) if passages else []
        questions = {doc_id: answer for (doc_id, _), answer in zip(passages, answers, strict=True)}
        without_text = [Question("", "no_text")]
        return [self._row(doc_id, questions.get(doc_id, without_text)) for doc_id in doc_ids]

    def _undone(self, done: set[str], is_enough: bool) -> list[str]:
        """Return the ids of passages not in `done`, in random order, so that any first part is a fair sample.

        Empty if `is_enough`.
        """
        if is_enough:
            return []
        doc_ids = [doc_id for doc_id, _ in self._dataset.documents()]
        random.Random(self._seed).shuffle(doc_ids)  # noqa: S311 - sampling, not secrets
        return [doc_id for doc_id in doc_ids if doc_id not in done]

    def _count(self, row: dict[str, Any]) -> int:
        """Return the number of usable questions in a row of the file, and remember them as seen."""
        used = [question for question in row["questions"] if "fault" not in question]
        self._seen |= {normalized_words(question["query"]) for question in used}
        return len(used)

    def _row(self, doc_id: str, questions: Sequence[Question]) -> dict[str, Any]:
        """Return the row of a passage with its questions, numbered and with their faults."""
        return {
            "doc_id": doc_id,
            "questions": [
                {"query_id": f"{doc_id}/{number}", "query": question.text, **self._fault(question)}
                for number, question in enumerate(questions)
            ],
        }

    def _fault(self, question: Question) -> dict[str, Any]:
        """Return the fault fields of a question: empty if it is usable, and then it is remembered as seen."""
        words = normalized_words(question.text)
        if question.fault is not None:
            return {"fault": question.fault}
        if not words:
            return {"fault": "empty"}
        if len(words) < self._source.shortest_words:
            return {"fault": "too_short"}
        if len(words) > self._source.longest_words:
            return {"fault": "too_long"}
        if words in self._seen:
            return {"fault": "duplicate"}
        repeated = self._protected.find(question.text)
        if repeated is not None:
            return {"fault": REPEATS, "repeats": repeated.text, "similarity": round(repeated.similarity, 3)}
        self._seen.add(words)
        return {}

    def _queries_of(self, rows: Sequence[dict[str, Any]]) -> MadeQueries:
        """Return the usable queries of all rows with their counts, and print counts and usage."""
        texts: dict[str, str] = {}
        sources: dict[str, str] = {}
        faults: Counter[str] = Counter()
        for doc_id, question in _questions(rows):
            if "fault" in question:
                faults[question["fault"]] += 1
            else:
                texts[question["query_id"]] = " ".join(question["query"].split())
                sources[question["query_id"]] = doc_id
        counts = {
            "kind": self._source.kind,
            "passages": len(rows),
            "questions": sum(len(row["questions"]) for row in rows),
            "usable": len(texts),
            "faults": dict(sorted(faults.items())),
        }
        _say_counts(counts, self._path)
        usage = self._writer.usage()
        if usage.llm_calls:
            say(
                f"{usage.llm_calls} calls for questions, {usage.calls_replayed} of them replayed: "
                f"{usage.prompt_tokens:,} prompt tokens, {usage.generated_tokens:,} generated, "
                f"${usage.dollars:.4f}"
            )
        return MadeQueries(texts, sources, counts)


def _questions(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (doc id, question) for each question of the rows."""
    for row in rows:
        for question in row["questions"]:
            yield row["doc_id"], question


def _say_counts(counts: dict[str, Any], path: Path) -> None:
    """Print the number of usable queries and of faults by kind."""
    faults = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts["faults"].items())
    without = f", without {faults}" if faults else ""
    say(f"{counts['usable']} usable queries from {counts['passages']} passages{without}; all are in {path}")
