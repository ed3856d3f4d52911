"""Writes a first experiment file from a user's choice of data, rerankers, machine and budget."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from benchmarks.candidates.file import candidates_stem
from benchmarks.experiments.config import load_experiment
from rerankers.errors import InputError, UnknownNameError
from rerankers.files.paths import user_path
from rerankers.files.writing import is_written_directly, replace_file
from rerankers.progress import Activity
from rerankers.registry import options_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MACHINES = ("cpu", "gpu", "offline")
USUAL = ("embedding", "cross-encoder")
QRELS = ("{stem}.qrels", "{stem}.qrels.txt", "qrels.txt", "qrels.tsv")
"""The names under which judgements are searched beside a candidates file."""


@dataclass(frozen=True)
class Answers:
    """The choices from which an experiment file is written.

    Attributes:
        data: `bundled`, an ir_datasets id, a folder in the BEIR layout, or a candidates file.
        qrels: judgements for a candidates file.
        rerankers: registered names, or `module:Class` of the user's own; the first stage is added.
        machine: one of `MACHINES`.
        budget: dollars for endpoints; None for no endpoint.
    """

    data: str
    qrels: str | None
    rerankers: tuple[str, ...]
    machine: str
    budget: float | None


def ask(
    data: Sequence[str] | None,
    rerankers: Sequence[str] | None,
    machine: str | None,
    budget: float | None,
    answer: Callable[[str], str] | None = None,
) -> Answers:
    """Return the user's choices: the arguments and, for those that are None, answers on the terminal.

    Args:
        data: a name, or a candidates file and its qrels.
        rerankers: names, also several in one word with commas.
        machine: one of `MACHINES`.
        budget: dollars for endpoints.
        answer: function that asks a question and returns the answer; `input` by default.

    Raises:
        InputError: an answer cannot be used, or standard input has ended.
    """

    def words_of(question: str, usual: str, option: str) -> list[str]:
        try:
            with Activity("", is_timed=True):  # nothing else is shown while a person answers
                text = (answer or input)(f"{question} [{usual}] ")
            return shlex.split(text) or shlex.split(usual)
        except EOFError as error:
            raise InputError(f"nobody answers the question about {option}; give it as an option") from error
        except ValueError as error:
            raise InputError(f"{option}: a quotation mark is not closed; correct it") from error

    if data is None:
        question = (
            "Data: a BEIR-layout folder, a candidates file and its qrels, an ir_datasets id, or bundled?"
        )
        data = words_of(question, "bundled", "--data")
    if not 1 <= len(data) <= 2:
        raise InputError("--data takes one name, or a candidates file and its qrels")
    if rerankers is None:
        question = "Rerankers, as `rerankbench list rerankers` names them?"
        rerankers = words_of(question, " ".join(USUAL), "--rerankers")
    if machine is None:
        question = "Machine: cpu, gpu, or offline (no model hub); and dollars, if endpoints may be paid?"
        machine, *rest = words_of(question, "cpu", "--machine")
        budget = _dollars(rest) if rest else budget
    if machine not in MACHINES:
        raise UnknownNameError("machine", machine, MACHINES)
    names = tuple(name for words in rerankers for name in words.split(",") if name)
    return Answers(data[0], data[1] if len(data) == 2 else None, names, machine, budget)


def write_starter(answers: Answers, out: Path) -> None:
    """Write an experiment file for the answers to `out`, and check that it loads.

    Raises:
        InputError: the file exists already, or the answers do not make an experiment.
    """
    if is_written_directly(out):
        replace_file(out, starter(answers, Path("experiment.yaml")))
        return
    if out.exists():
        raise InputError(f"{out}: is there already; give another name with --out")
    if not out.parent.is_dir():
        raise InputError(f"{out.parent}: no such folder; make it first")
    replace_file(out, starter(answers, out))
    try:
        load_experiment(out)
    except InputError:
        out.unlink()
        raise


def starter(answers: Answers, out: Path) -> str:
    """Return the YAML text of an experiment file for the answers; `out` is its path."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", out.stem).strip("-._") or "experiment"
    starters = tomllib.loads((Path(__file__).parent / "starters.toml").read_text(encoding="utf-8"))
    rerankers = [name for name in dict.fromkeys(("first-stage", *answers.rerankers)) if options_model(name)]
    systems = "\n".join(_system(reranker, starters.get(reranker), answers) for reranker in rerankers)
    depth = 100 if answers.machine == "gpu" else 20
    paid = answers.budget is not None
    budget = f"budget: {answers.budget:g}" if paid else "# budget: 5"
    return f"""\
# Which reranker? Written by `rerankbench init`; change what you like.
#
#     rerankbench run {out} --dry-run     cells, downloads, time, memory and cost
#     rerankbench run {out} --limit 3     try it on three queries
#     rerankbench run {out}               the same command resumes after any interruption
#     rerankbench report runs/{name}
#
# Lists are crossed with one another; a list in place of an option's value is a sweep.

name: {name}

{_data(answers, out.parent)}

{_first_stage(answers, starters)}

depths: {depth} # candidates per query; [20, 100] measures both

rerankers: # `rerankbench list rerankers` shows more, and every option
{systems}
{_measures(answers)}

protocol:
  mode: latency # one query at a time; `throughput` ranks batches
  warmup: 2 # queries that are ranked and thrown away first
  repeats: 1 # 3 show how much times vary

{budget} # dollars; the run stops before calls of endpoints cost more
"""


def _data(answers: Answers, base: Path) -> str:
    """Return the YAML lines of the key `datasets`."""
    data = answers.data
    if candidates_stem(Path(data)) is not None:
        path = user_path(data)
        qrels = user_path(answers.qrels) if answers.qrels else _qrels_beside(path)
        if qrels is None:
            judged = "  # qrels: qrels.txt # add judgements here: without them only time is measured"
        else:
            judged = f"  qrels: {_scalar(_from(base, qrels))} # query, 0, passage, grade"
        return f"datasets:\n  candidates: {_scalar(_from(base, path))} # queries with their hits\n{judged}"
    if answers.qrels is not None:
        raise InputError("judgements go with a candidates file; a folder or an id brings its own")
    path = user_path(data)
    if data != "bundled" and path.is_dir():
        return f"datasets: {_scalar(_from(base, path))} # corpus.jsonl, queries.jsonl, qrels/test.tsv"
    if data.startswith((".", "/", "~")):
        raise InputError(f"{data}: no such folder; give a folder, a candidates file, an id, or bundled")
    if data != "bundled":
        _check_id(data)
    return f"datasets: {_scalar(data)} # or an ir_datasets id, a BEIR-layout folder, a candidates file"


def _check_id(data: str) -> None:
    """Raise UnknownNameError if ir_datasets has no dataset of this id."""
    from benchmarks.datasets.ir_collection import dataset_ids

    if data not in dataset_ids():
        raise UnknownNameError("dataset", data, dataset_ids())


def _first_stage(answers: Answers, starters: dict[str, Any]) -> str:
    """Return the YAML line of the key `first_stages`: BM25 if it is installed, else a dense encoder."""
    if candidates_stem(Path(answers.data)) is not None:
        return "first_stages: given # the candidates as the file lists them"
    if importlib.util.find_spec("pyserini") is None:
        encoder = _scalar(starters["embedding"][answers.machine]["model"])
        return f"first_stages: {{kind: dense, encoder: {encoder}}} # bm25 needs the extra of that name"
    if answers.data.startswith("msmarco-passage/"):
        return "first_stages: {kind: bm25, index: msmarco-v1-passage} # pyserini's prebuilt index"
    return "first_stages: bm25 # or {kind: dense, encoder: MODEL}, or {kind: run, path: RUN.trec}"


def _measures(answers: Answers) -> str:
    """Return the YAML line of the key `measures`."""
    if "/trec-dl-" in answers.data:
        return "measures: trec-dl # its AP, RR and recall count grades 2 and 3, as the track does"
    return "measures: [nDCG@10, RR@10, AP, Judged@10] # ir_measures' names; the first is the headline"


def _system(reranker: str, presets: dict[str, Any] | None, answers: Answers) -> str:
    """Return a reranker's YAML entry with options for the chosen machine, and the reason to choose it."""
    if presets is None:
        return f"  - name: {_scalar(reranker)} # your own\n    options: {{}}\n"
    endpoint = "endpoint" if answers.budget is not None else answers.machine
    options = next((presets[key] for key in (endpoint, answers.machine, "any") if key in presets), None)
    if options is None:
        machines = ", ".join(sorted(presets.keys() - {"why"}))
        remedy = "give a budget" if machines == "endpoint" else f"it starts on {machines}"
        raise InputError(
            f"no model is known to start {reranker} on {answers.machine}; {remedy}, or leave it out"
        )
    if not options:
        return f"  - {reranker} # {presets['why']}\n"
    dumped = yaml.safe_dump(options, sort_keys=False, width=10**6)
    lines = "".join(f"      {line}\n" for line in dumped.splitlines())
    return f"  - name: {reranker} # {presets['why']}\n    options:\n{lines}"


def _qrels_beside(path: Path) -> Path | None:
    """Return the judgement file beside a candidates file, found by its usual names; None if there is none."""
    stem = candidates_stem(path)
    beside = (path.with_name(name.format(stem=stem)) for name in QRELS)
    return next((qrels for qrels in beside if qrels.is_file()), None)


def _from(base: Path, path: Path) -> str:
    """Return an existing path relative to an experiment file's folder `base`.

    Raise InputError if it is missing.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path")
    if path.is_absolute():
        return str(path)
    return f"./{path}" if base == Path() else os.path.join(".", os.path.relpath(path, base))  # noqa: PTH118


def _scalar(text: str) -> str:
    """Return a string as a one-line YAML scalar."""
    return yaml.safe_dump(text, width=10**6, allow_unicode=True).splitlines()[0]


def _dollars(words: list[str]) -> float:
    """Parse words such as `$ 5` into a positive number of dollars."""
    try:
        dollars = float(" ".join(words).lstrip("$"))
    except ValueError:
        dollars = 0.0
    if not 0 < dollars < float("inf"):
        raise InputError(f"{' '.join(words)!r} is no number of dollars; write one, such as 5")
    return dollars
