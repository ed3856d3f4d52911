"""Lets a chat model grade the unjudged passages of a result folder, and writes its grades as judgements."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from benchmarks.experiments.plan import slug
from benchmarks.judging.prompt import fault_of, read_grade, states_grade, umbrela
from benchmarks.measuring.progress import say
from benchmarks.results.judgements import FOLDER, JudgeAbout, JudgedSet, judges, write_about, write_grades
from benchmarks.training_data.appended import Appended
from rerankers.chat.backends import open_chat
from rerankers.chat.conversation import ChatCall, ask
from rerankers.endpoints.prices import Budget
from rerankers.errors import BackendError
from rerankers.files.folder_lock import FolderLock
from rerankers.interface import Cost
from rerankers.options import options_affecting
from rerankers.progress import Activity
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.judging.passages import Holes, Pair
    from benchmarks.judging.prompt import Template
    from rerankers.chat.conversation import ChatBackend, Conversation
    from rerankers.methods.chat import ChatOptions

_ROUNDS = 4  # calls of each of the backend's places, between two writes

Row = dict[str, Any]
Reading = Literal["written", "forced"]
"""How a grade is read: from the model's output, or as the most likely of the four."""


class _Question(NamedTuple):
    """A query and passage to be graded; `digest` is that of the prompt."""

    holes: Holes
    pair: Pair
    digest: str


class _Answers:
    """Grades and faults of the model outputs so far, by digest of the prompt."""

    def __init__(self) -> None:
        self.by_prompt: dict[str, Row] = {}

    def keep(self, row: Mapping[str, Any]) -> None:
        """Add a row of `answers.jsonl`; raise ValueError if its grade is not 0 to 3 or None."""
        if row["grade"] not in (None, 0, 1, 2, 3):
            raise ValueError("not a grade")
        self.by_prompt[row["prompt"]] = {"grade": row["grade"], "fault": row["fault"]}


def judge(
    folder: Path,
    holes: Sequence[Holes],
    chat: ChatOptions,
    budget: float | None,
    depth: int,
    reading: Reading = "written",
) -> str:
    """Let a chat model grade all passages in `holes` that it has not graded, and write judgement files.

    Model outputs are stored one by one, so that an interrupted call can be resumed.

    Args:
        folder: the result folder.
        holes: the passages to grade, for each candidate set.
        chat: options of the chat model.
        budget: dollars that calls may cost, earlier ones of this judge included.
        depth: number of first ranks that the passages were taken from, stored with the grades.
        reading: `written` reads the grade in the model's output; `forced` takes the most likely of the four
            (`benchmarks.judging.forced`).

    Returns:
        the name of the judge's folder.

    Raises:
        BackendError: an endpoint failed, or the budget is used up.
        InputError: an option is wrong.
        ModelError: the model does not load.
    """
    template = umbrela()
    name, identity = _identity(chat, template, reading)
    home = folder / FOLDER / name
    answers = _Answers()
    questions = _questions(holes, template)
    with FolderLock(home):
        if chat.backend == "openai" and chat.recording is None:
            chat = chat.model_copy(update={"recording": home / "responses.jsonl"})
        file = Appended(home / "answers.jsonl", identity, answers.keep, "a model's grades", "Move it away")
        forced = "; grades forced: the most likely of 0 to 3" if reading == "forced" else ""
        about = judges(folder).get(name) or JudgeAbout(
            model=chat.model, prompt=f"{template.name} ({template.source}){forced}"
        )
        waiting = {
            question.digest: question for question in questions if question.digest not in answers.by_prompt
        }
        if waiting:
            with file:
                with Activity(f"loading {chat.model}"):
                    backend = _open(chat, reading)
                usage, described = _ask_all(home, [*waiting.values()], backend, chat, budget, file)
            usage = _sum(about.usage, usage)
            about = about.model_copy(update={"usage": usage, "described": described})
        _write(folder, name, about, questions, answers, depth)
    return name


def _open(chat: ChatOptions, reading: Reading) -> ChatBackend:
    """Return the backend that gives grades in this way."""
    if reading == "written":
        return open_chat(chat)
    from benchmarks.judging.forced import ForcedGrades

    return ForcedGrades(chat)


def _identity(chat: ChatOptions, template: Template, reading: Reading) -> tuple[str, dict[str, Any]]:
    """Return a judge's name and description; both depend on all that decides its grades."""
    options = chat.model_dump(
        mode="json", exclude={*options_affecting(type(chat), "nothing", "speed"), "stream"}
    )
    decisive = [options, template.digest, *([] if reading == "written" else [reading])]
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
    about = {"digest": digest, "prompt": template.name, "prompt_digest": template.digest}
    kind = "" if reading == "written" else f"-{reading}"
    return f"{slug(chat.model)}{kind}-{digest[:8]}", {**about, "model": chat.model}


def _questions(holes: Sequence[Holes], template: Template) -> list[_Question]:
    """Return one question for each passage in `holes`, sorted by query and passage id."""
    questions = []
    for passages in holes:
        texts: dict[str, str] = {}
        last = None
        for query_id, doc_id in sorted((*passages.unjudged, *passages.judged)):
            if query_id != last:
                texts = {candidate.doc_id: candidate.text for candidate in passages.pool.candidates[query_id]}
                last = query_id
            [message] = template.messages(passages.pool.queries[query_id], texts[doc_id])
            digest = hashlib.sha256(message["content"].encode(errors="surrogatepass")).hexdigest()[:24]
            questions.append(_Question(passages, (query_id, doc_id), digest))
    return questions


def _ask_all(
    home: Path,
    questions: Sequence[_Question],
    backend: ChatBackend,
    chat: ChatOptions,
    budget: float | None,
    file: Appended[None],
) -> tuple[dict[str, Any], dict[str, object]]:
    """Run the model on all questions and append its outputs to a file.

    Return the usage of the calls and the backend's description.
    """
    cost = Cost()
    try:
        if budget is not None:
            backend.pay_from(Budget(budget, home / "spending.jsonl"))
        clock = StageClock()
        with Activity(f"judging by {chat.model}", len(questions), unit="passage") as progress:
            for some in _chunks(questions, _ROUNDS * chat.concurrency):
                file.append(backend.run([_conversation(question, backend, cost) for question in some], clock))
                for _ in some:
                    progress.advance()
    except BackendError as error:
        raise BackendError(f"{error}; what was judged is kept, the same command goes on") from error
    finally:
        backend.close()
    return cost.usage.nonzero(), backend.describe()


def _conversation(question: _Question, backend: ChatBackend, cost: Cost) -> Conversation[Row]:
    """Let the model grade one passage, and return a row with grade, fault and output text.

    A prompt that is too long for the model gets the fault `too_long`.
    """
    template = umbrela()
    query_id, doc_id = question.pair
    pool = question.holes.pool
    passage = next(candidate.text for candidate in pool.candidates[query_id] if candidate.doc_id == doc_id)
    messages = template.messages(pool.queries[query_id], passage)
    row: Row = {"prompt": question.digest, "grade": None}
    if not backend.fits(messages, template.max_new_tokens):
        return {**row, "fault": "too_long", "text": ""}
    answer = yield from ask(ChatCall(messages, template.max_new_tokens, cost, states_grade))
    fault = fault_of(answer)
    return {**row, "grade": None if fault else read_grade(answer.text), "fault": fault, "text": answer.text}


def _chunks(questions: Sequence[_Question], size: int) -> Iterator[Sequence[_Question]]:
    """Yield the questions in chunks of `size`."""
    return (questions[start : start + size] for start in range(0, len(questions), size))


def _write(
    folder: Path, name: str, about: JudgeAbout, questions: Sequence[_Question], answers: _Answers, depth: int
) -> None:
    """Write the grades of each candidate set, then `about.json` of the judge, and print a summary."""
    sets = dict(about.sets)
    for holes in {id(question.holes): question.holes for question in questions}.values():
        rows = {
            question.pair: answers.by_prompt[question.digest]
            for question in questions
            if question.holes is holes
        }
        grades: dict[str, dict[str, int]] = {}
        for (query_id, doc_id), row in rows.items():
            if row["grade"] is not None:
                grades.setdefault(query_id, {})[doc_id] = holes.scale[row["grade"]]
        digest = holes.pool.digest
        sets[digest] = JudgedSet(
            digest=write_grades(folder, name, digest, grades),
            depth=depth,
            scale=holes.scale,
            filled=sum(rows[pair]["grade"] is not None for pair in holes.unjudged),
            repeated=sum(rows[pair]["grade"] is not None for pair in holes.judged),
            faults=dict(Counter(row["fault"] for row in rows.values() if row["fault"])),
        )
        say(_summary(holes, sets[digest]))
    write_about(folder, name, about.model_copy(update={"sets": sets}))


def _summary(holes: Holes, judged: JudgedSet) -> str:
    """Return a sentence with the numbers of graded passages of a candidate set."""
    faults = sum(judged.faults.values())
    lacking = f"; {faults} outputs without a grade leave their passages unjudged" if faults else ""
    return (
        f"{holes.pool.dataset}: {judged.filled} of {len(holes.unjudged)} unjudged passages graded, "
        f"{judged.repeated} judged ones for the agreement{lacking}"
    )


def _sum(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Add two usage dictionaries; values that are not numbers are left out."""
    names = dict.fromkeys([*before, *now])
    counts = {name: [usage[name] for usage in (before, now) if name in usage] for name in names}
    return {name: sum(values) for name, values in counts.items() if isinstance(values[0], int | float)}
