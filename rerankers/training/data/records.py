"""Reads training data of PE-Rank from JSON lines, plain or compressed (arXiv 2406.14848, section 3.4).

The method's published files are read as they are.

Alignment: `messages` (a chat that ends with the assistant's turn) and `extra_texts` (one text for each
passage placeholder).

Ranking, in either of two forms, which one file may mix:

    plain        {"query": ..., "passages": [...], "ranking": [...]}
    published    {"messages_w_content": [...], "messages_wo_content": [...], "ranking": [...],
                  "extra_texts": n passages in input order, then the same n in gold order}

`ranking` holds all passages' places in the input, best first, counted from 0 or from 1. Held-out lists may
also have these, which evaluation reads:

    first_stage         the places in the first stage's order, best first, counted from 0
    grades              the relevance grade of each passage, null where there is none
    grades_elsewhere    grades of the query's judged passages that are not in the list

Further keys are left alone, and so are lines that only tell where lists come from, `{"about": {...}}`: files
can be joined.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rerankers.errors import InputError
from rerankers.files.json_lines import Row, read_json_lines
from rerankers.pe_rank.prompt import PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Messages = tuple[dict[str, str], ...]

_ROLES = ("system", "user", "assistant")
_PUBLISHED_QUERY = re.compile(r"relevance to the search query: (.*?)\.\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class AlignmentRecord:
    """A conversation whose last turn, a text, is to be predicted from passages' embeddings.

    Attributes:
        messages: the chat; the last one is the assistant's, which is learnt.
        extra_texts: the passages that the placeholders in the messages stand for, in their order.
        line: its line in the file.
    """

    messages: Messages
    extra_texts: tuple[str, ...]
    line: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class RankingRecord:
    """A query, its passages, and their order by relevance.

    Attributes:
        query: the query; empty if it cannot be found in the published form's messages.
        passages: in input order.
        ranking: places in `passages`, best first, from 0.
        messages_with_text: the file's own prompt, passages' texts included; None in the plain form.
        messages_without_text: the same with embeddings alone.
        line: its line in the file.
        first_stage: places in `passages` in the first stage's order; None where the file does not say.
        grades: relevance grade of each passage, 0 where there is none; None without judgements.
        grades_elsewhere: grades of the query's judged passages that are not in the list.
    """

    query: str
    passages: tuple[str, ...]
    ranking: tuple[int, ...]
    messages_with_text: Messages | None = None
    messages_without_text: Messages | None = None
    line: int | None = field(default=None, compare=False)
    first_stage: tuple[int, ...] | None = None
    grades: tuple[int, ...] | None = None
    grades_elsewhere: tuple[int, ...] = ()


def read_alignment(path: Path) -> list[AlignmentRecord]:
    """Return the alignment records of a JSON-lines file.

    Raises:
        InputError: `file:line`: broken JSON, a key missing or of the wrong kind, no assistant's turn at the
            end, or another number of placeholders than texts.
    """
    records = []
    for row in _rows(path):
        messages = _messages(row, "messages")
        if messages[-1]["role"] != "assistant":
            row.fail("'messages' must end with the assistant's turn, which is what is learnt")
        texts = _texts(row, "extra_texts")
        _check_placeholders(row, "messages", messages, len(texts))
        records.append(AlignmentRecord(messages, texts, row.line))
    return records


def holds_alignment(path: Path) -> bool:
    """Return whether a file holds alignment data, by its first record.

    Raises:
        InputError: that record is broken.
    """
    return "messages" in next(_rows(path)).values


def read_ranking(path: Path) -> list[RankingRecord]:
    """Return the ranked lists of a JSON-lines file, in the plain or the published form.

    Raises:
        InputError: `file:line`: broken JSON, a key missing or of the wrong kind, an empty query, a ranking
            or first stage's order that is no permutation, texts that do not repeat in its order, another
            number of placeholders than passages, or another number of grades.
    """
    return [
        replace(_published(row) if "extra_texts" in row.values else _plain(row), **_evaluated_by(row))
        for row in _rows(path)
    ]


def _rows(path: Path) -> Iterator[Row]:
    """Yield the JSON objects of a file, `about` lines left out.

    Raises:
        InputError: there are none.
    """
    has_rows = False
    for line, values in read_json_lines(path):
        if set(values) == {"about"}:
            continue
        has_rows = True
        yield Row(path, line, values)
    if not has_rows:
        raise InputError.at(path, None, "the file holds no record; check how it was made")


def _plain(row: Row) -> RankingRecord:
    """Return the record of a row in the plain form."""
    passages = _texts(row, "passages")
    return RankingRecord(_stated_query(row), passages, _ranking(row, len(passages)), line=row.line)


def _published(row: Row) -> RankingRecord:
    """Return the record of a row in the published form, after a check of its repeated texts."""
    texts = _texts(row, "extra_texts")
    if len(texts) % 2:
        row.fail(
            f"'extra_texts' holds {len(texts)} texts; it needs each passage twice: input order, gold order"
        )
    passages = texts[: len(texts) // 2]
    ranking = _ranking(row, len(passages))
    for place, passage in enumerate(ranking):
        if texts[len(passages) + place] != passages[passage]:
            row.fail(
                f"'extra_texts' does not repeat the passages in the order of 'ranking' at place {place + 1}"
            )
    with_text, without_text = (
        _prompt(row, key, len(passages)) for key in ("messages_w_content", "messages_wo_content")
    )
    return RankingRecord(_query(row, without_text), passages, ranking, with_text, without_text, row.line)


def _stated_query(row: Row) -> str:
    """Return the row's `query`, which must not be blank."""
    query = row.text("query")
    if not query.strip():
        row.fail(f"'query' is {query!r}. Write a query, or remove the line")
    return query


def _query(row: Row, prompt: Messages) -> str:
    """Return the query of a row: its `query`, or the one in the published prompt's text.

    "" if neither is there.
    """
    if "query" in row.values:
        return _stated_query(row)
    match = _PUBLISHED_QUERY.search("\n".join(message["content"] for message in prompt))
    return match[1] if match else ""


def _prompt(row: Row, key: str, count: int) -> Messages:
    """Return the messages under a key without the assistant's answer at their end, placeholders checked."""
    messages = _messages(row, key)
    prompt = messages[:-1] if messages[-1]["role"] == "assistant" else messages
    _check_placeholders(row, key, prompt, count)
    return prompt


def _check_placeholders(row: Row, key: str, messages: Messages, count: int) -> None:
    """Fail if the messages do not hold `count` passage placeholders."""
    placeholders = sum(message["content"].count(PLACEHOLDER) for message in messages)
    if placeholders != count:
        row.fail(f"{key!r} holds {placeholders} times {PLACEHOLDER}, but there are {count} texts for it")


def _ranking(row: Row, count: int) -> tuple[int, ...]:
    """Return the row's `ranking` as positions from 0, after a check that it is a permutation of `count`."""
    places = _list(row, "ranking")
    if any(isinstance(place, bool) or not isinstance(place, int) for place in places):
        row.fail("'ranking' must hold whole numbers: the passages' places in the input, best first")
    first = 0 if 0 in places else 1
    if sorted(places) != list(range(first, first + count)):
        row.fail(f"'ranking' must name each of the {count} passages once, counted from 0 or from 1")
    return tuple(place - first for place in places)


def _evaluated_by(row: Row) -> dict[str, Any]:
    """Return a row's first-stage order and grades, if it has them, by field of `RankingRecord`."""
    count = len(row.values["ranking"])
    values: dict[str, Any] = {}
    if row.values.get("first_stage") is not None:
        order = _list(row, "first_stage")
        if any(type(place) is not int for place in order) or sorted(order) != list(range(count)):
            row.fail(f"'first_stage' must name each of the {count} passages once, counted from 0")
        values["first_stage"] = tuple(order)
    if row.values.get("grades") is not None:
        values["grades"] = _grades(row, "grades")
        values["grades_elsewhere"] = _grades(row, "grades_elsewhere")
        if len(values["grades"]) != count:
            row.fail(f"'grades' has {len(values['grades'])} values for {count} passages. Give one a passage")
    return values


def _grades(row: Row, key: str) -> tuple[int, ...]:
    """Return the grades under a key; null, which says that nobody judged a passage, is 0."""
    grades = row.values.get(key, [])
    if not isinstance(grades, list) or any(grade is not None and type(grade) is not int for grade in grades):
        row.fail(f"{key!r} must be a list of whole numbers or null")
    return tuple(grade or 0 for grade in grades)


def _texts(row: Row, key: str) -> tuple[str, ...]:
    """Return the texts under a key, which must hold a list of strings."""
    values = _list(row, key)
    return tuple(
        Row(row.path, row.line, {key: value}, f"{key} {place + 1}").text(key)
        for place, value in enumerate(values)
    )


def _messages(row: Row, key: str) -> Messages:
    """Return the messages under a key, each checked for role and content."""
    messages = []
    for place, value in enumerate(_list(row, key)):
        if not isinstance(value, dict):
            row.fail(f"{key} {place + 1}: expected an object with role and content")
        message = Row(row.path, row.line, value, f"{key} {place + 1}")
        role = message.text("role")
        if role not in _ROLES:
            message.fail(f"the role {role!r} is none of {', '.join(_ROLES)}")
        messages.append({"role": role, "content": message.text("content")})
    return tuple(messages)


def _list(row: Row, key: str) -> list[Any]:
    """Return the value of a key, which must be a list with at least one element."""
    value = row.get(key)
    if not isinstance(value, list) or not value:
        row.fail(f"{key!r} must be a list with at least one element")
    return list(value)
