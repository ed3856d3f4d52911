"""Asks a chat model for the grades that a result folder lacks, and writes them beside its judgements."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.experiments.plan import slug
from benchmarks.judging.prompt import fault_of, read_grade, states_grade, umbrela
from benchmarks.measuring.progress import Progress, say
from benchmarks.results.judgements import FOLDER, JudgeAbout, JudgedSet, judges, write_about, write_grades
from benchmarks.training_data.appended import Appended
from rerankers.chat.backends import open_chat
from rerankers.chat.conversation import ChatCall, ask
from rerankers.endpoints.prices import Budget
from rerankers.errors import BackendError
from rerankers.files.folder_lock import FolderLock
from rerankers.interface import Cost
from rerankers.methods.chat import CHANGES_NO_RESULT
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.judging.passages import Holes, Pair
    from benchmarks.judging.prompt import Template
    from rerankers.chat.conversation import ChatBackend, Talk
    from rerankers.methods.chat import ChatOptions

_ROUNDS = 4  # calls of each of the backend's places, between two writes
_NOT_IDENTITY = CHANGES_NO_RESULT | {"concurrency", "price", "stream", "device"}

Row = dict[str, Any]


class _Question(NamedTuple):
    """A passage to ask about; `digest` stands for the prompt."""

    holes: Holes
    pair: Pair
    digest: str


class _Answers:
    """The model outputs so far, by digest of the conversation."""

    def __init__(self) -> None:
        self.by_prompt: dict[str, Row] = {}

    def keep(self, row: Mapping[str, Any]) -> None:
        """Take in a row of the file."""
        if row["grade"] not in (None, 0, 1, 2, 3):
            raise ValueError("not a grade")
        self.by_prompt[row["prompt"]] = {"grade": row["grade"], "fault": row["fault"]}


def judge(folder: Path, holes: Sequence[Holes], chat: ChatOptions, budget: float | None, depth: int) -> str:
    """Ask for every grade that is not there yet, and write the second judgement files.

    A killed or stopped call goes on where it was: model outputs are kept one by one.

    Args:
        folder: of results.
        holes: what to ask about.
        chat: which model, and how it is asked.
        budget: dollars that calls may cost, earlier ones of this judge included.
        depth: ranks that the holes were taken from, for the record.

    Returns:
        the name of the judge's folder.

    Raises:
        BackendError: an endpoint failed, or the budget is used up.
        InputError: an option is wrong.
        ModelError: the model does not load.
    """
    template = umbrela()
    name, identity = _identity(chat, template)
    home = folder / FOLDER / name
    answers = _Answers()
    questions = _questions(holes, template)
    with FolderLock(home):
        if chat.backend == "openai" and chat.recording is None:
            chat = chat.model_copy(update={"recording": home / "responses.jsonl"})
        file = Appended(home / "answers.jsonl", identity, answers.keep, "a model's grades", "Move it away")
        about = judges(folder).get(name) or JudgeAbout(
            model=chat.model, prompt=f"{template.name} ({template.source})"
        )
        waiting = {one.digest: one for one in questions if one.digest not in answers.by_prompt}
        if waiting:
            with file:
                usage, described = _ask_all(home, [*waiting.values()], chat, budget, file)
            usage = _sum(about.usage, usage)
            about = about.model_copy(update={"usage": usage, "described": described})
        _write(folder, name, about, questions, answers, depth)
    return name


def _identity(chat: ChatOptions, template: Template) -> tuple[str, dict[str, Any]]:
    """Return the name of a judge, which stands for everything that decides its grades, and what that is."""
    options = chat.model_dump(mode="json", exclude=set(_NOT_IDENTITY))
    digest = hashlib.sha256(json.dumps([options, template.digest], sort_keys=True).encode()).hexdigest()[:16]
    about = {"digest": digest, "prompt": template.name, "prompt_digest": template.digest}
    return f"{slug(chat.model)}-{digest[:8]}", {**about, "model": chat.model}


def _questions(holes: Sequence[Holes], template: Template) -> list[_Question]:
    """Return everything to ask about, the texts of each query read once."""
    questions = []
    for one in holes:
        texts: dict[str, str] = {}
        last = None
        for query_id, doc_id in sorted((*one.unjudged, *one.judged)):
            if query_id != last:
                texts = {each.doc_id: each.text for each in one.pool.candidates[query_id]}
                last = query_id
            [message] = template.messages(one.pool.queries[query_id], texts[doc_id])
            digest = hashlib.sha256(message["content"].encode(errors="surrogatepass")).hexdigest()[:24]
            questions.append(_Question(one, (query_id, doc_id), digest))
    return questions


def _ask_all(
    home: Path,
    questions: Sequence[_Question],
    chat: ChatOptions,
    budget: float | None,
    file: Appended[None],
) -> tuple[dict[str, Any], dict[str, object]]:
    """Ask every question, and return what that took and the backend as used."""
    backend = open_chat(chat)
    cost = Cost()
    try:
        if budget is not None:
            backend.pay_from(Budget(budget, home / "spending.jsonl"))
        clock = StageClock()
        with Progress(f"judging by {chat.model}", len(questions)) as progress:
            for some in _chunks(questions, _ROUNDS * chat.concurrency):
                file.append(backend.run([_talk(one, backend, cost) for one in some], clock))
                for _ in some:
                    progress.advance()
    except BackendError as error:
        raise BackendError(f"{error}; what was judged is kept, the same command goes on") from error
    finally:
        backend.close()
    return cost.usage.nonzero(), backend.describe()


def _talk(question: _Question, backend: ChatBackend, cost: Cost) -> Talk[Row]:
    """Ask for one grade, and return the row to keep."""
    template = umbrela()
    query_id, doc_id = question.pair
    pool = question.holes.pool
    passage = next(one.text for one in pool.candidates[query_id] if one.doc_id == doc_id)
    messages = template.messages(pool.queries[query_id], passage)
    row: Row = {"prompt": question.digest, "grade": None}
    if not backend.fits(messages, template.max_new_tokens):
        return {**row, "fault": "too_long", "text": ""}
    answer = yield from ask(ChatCall(messages, template.max_new_tokens, cost, states_grade))
    fault = fault_of(answer)
    return {**row, "grade": None if fault else read_grade(answer.text), "fault": fault, "text": answer.text}


def _chunks(questions: Sequence[_Question], size: int) -> Iterator[Sequence[_Question]]:
    return (questions[start : start + size] for start in range(0, len(questions), size))


def _write(
    folder: Path, name: str, about: JudgeAbout, questions: Sequence[_Question], answers: _Answers, depth: int
) -> None:
    """Write the grades of each candidate set, then what they are."""
    sets = dict(about.sets)
    for one in {id(question.holes): question.holes for question in questions}.values():
        rows = {
            question.pair: answers.by_prompt[question.digest]
            for question in questions
            if question.holes is one
        }
        grades: dict[str, dict[str, int]] = {}
        for (query_id, doc_id), row in rows.items():
            if row["grade"] is not None:
                grades.setdefault(query_id, {})[doc_id] = one.scale[row["grade"]]
        digest = one.pool.digest
        sets[digest] = JudgedSet(
            digest=write_grades(folder, name, digest, grades),
            depth=depth,
            scale=one.scale,
            filled=sum(rows[pair]["grade"] is not None for pair in one.unjudged),
            repeated=sum(rows[pair]["grade"] is not None for pair in one.judged),
            faults=dict(Counter(row["fault"] for row in rows.values() if row["fault"])),
        )
        say(_summary(one, sets[digest]))
    write_about(folder, name, about.model_copy(update={"sets": sets}))


def _summary(one: Holes, judged: JudgedSet) -> str:
    faults = sum(judged.faults.values())
    lacking = f"; {faults} outputs without a grade leave their passages unjudged" if faults else ""
    return (
        f"{one.pool.dataset}: {judged.filled} of {len(one.unjudged)} unjudged passages graded, "
        f"{judged.repeated} judged ones for the agreement{lacking}"
    )


def _sum(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Add up counts of calls that were made in several runs."""
    names = dict.fromkeys([*before, *now])
    counts = {name: [one[name] for one in (before, now) if name in one] for name in names}
    return {name: sum(values) for name, values in counts.items() if isinstance(values[0], int | float)}
