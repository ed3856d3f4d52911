"""Stores judgements apart from those of a result folder's candidate sets: a model's, or further files.

`DIR/judgements/<judge>/` belongs to one model with one prompt template and one set of options, or to the
files that an experiment gives one name:

- `about.json`: the model and the prompt template if there are any, and what was judged in each candidate set.
- `<digest of a candidate set>.qrels`: the grades in TREC's format. They are never mixed into the candidate
  set's own: whoever reads both decides what to do with them.
- `answers.jsonl`: each model output, so that no passage is judged twice.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rerankers.errors import StoreError
from rerankers.files.writing import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Grades = Mapping[str, Mapping[str, int]]

FOLDER = "judgements"
FORMAT_VERSION = 1


class JudgementFile(BaseModel):
    """A file of judgements that an experiment names beside the first one of its dataset.

    Attributes:
        path: the path in the experiment file; `own` for the judgements that come with the dataset.
        digest: sha256 of the file's bytes; "" for `own`.
        beside: the name of the dataset's first judgements, which the candidate set holds.
    """

    model_config = ConfigDict(extra="forbid")

    path: str
    digest: str = Field(pattern=r"^([0-9a-f]{64})?$")
    beside: str


class JudgedSet(BaseModel):
    """A judge's grades of one candidate set: their source, counts and digest.

    Attributes:
        digest: sha256 of the file of grades.
        file: the file that the grades come from; None for a model's grades, of which all that follows speaks.
        depth: number of first ranks of each system from which passages were judged.
        scale: the dataset's grade for each of the template's grades, from 0 up.
        filled: number of passages without a judgement that the model graded.
        repeated: number of passages with a judgement that were graded to measure the agreement.
        faults: number of model outputs without a grade, by kind.
    """

    model_config = ConfigDict(extra="forbid")

    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    file: JudgementFile | None = None
    depth: int = 0
    scale: tuple[int, ...] = ()
    filled: int = 0
    repeated: int = 0
    faults: dict[str, int] = {}


class JudgeAbout(BaseModel):
    """The content of a judge's `about.json`: model, prompt, total usage and the candidate sets judged.

    Attributes:
        model: the model's name as the user wrote it; None for files.
        prompt: name and source of the prompt template; "" for files.
        described: the chat backend's description of itself.
        usage: tokens, dollars and calls of all grades.
        sets: the judged sets, by digest of the candidate set.
    """

    model_config = ConfigDict(extra="forbid")

    format_version: int = FORMAT_VERSION
    model: str | None = None
    prompt: str = ""
    described: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    sets: dict[str, JudgedSet] = {}


def judges(folder: Path) -> dict[str, JudgeAbout]:
    """Read `about.json` of every judge of a result folder, models and files, by judge name.

    Raises:
        StoreError: a file is damaged, or written by a newer version.
    """
    abouts = {}
    for path in sorted((folder / FOLDER).glob("*/about.json")):
        try:
            about = JudgeAbout.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise StoreError(f"{path}: damaged. Delete it, and run rerankbench judge again.") from error
        if about.format_version != FORMAT_VERSION:
            raise StoreError(f"{path}: unknown format of judgements. Read it with a newer rerankbench.")
        abouts[path.parent.name] = about
    return abouts


def grades_of(folder: Path, judge: str, about: JudgeAbout, pool: str) -> dict[str, dict[str, int]]:
    """Read a judge's grades for one candidate set, by query id and doc id; empty if it judged none of it.

    Raises:
        StoreError: the file was changed or lost.
    """
    if pool not in about.sets:
        return {}
    path = _path(folder, judge, pool)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: lost. Run rerankbench judge again.") from error
    if hashlib.sha256(content).hexdigest() != about.sets[pool].digest:
        raise StoreError(f"{path}: changed since it was written. Run rerankbench judge again.")
    grades: dict[str, dict[str, int]] = {}
    for line in content.decode().split("\n")[:-1]:
        query_id, _, doc_id, grade = line.split(" ")
        grades.setdefault(query_id, {})[doc_id] = int(grade)
    return grades


def write_grades(folder: Path, judge: str, pool: str, grades: Grades) -> str:
    """Write a judge's grades for a candidate set as TREC judgements, and return the sha256 of the file."""
    lines = [
        f"{q} 0 {doc_id} {grade}\n"
        for q, by_passage in grades.items()
        for doc_id, grade in by_passage.items()
    ]
    content = "".join(lines).encode()
    path = _path(folder, judge, pool)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content)
    return hashlib.sha256(content).hexdigest()


def write_about(folder: Path, judge: str, about: JudgeAbout) -> None:
    """Write a judge's `about.json`."""
    content = json.dumps(about.model_dump(mode="json"), indent=1, ensure_ascii=False)
    replace_file(folder / FOLDER / judge / "about.json", content)


def _path(folder: Path, judge: str, pool: str) -> Path:
    """Return the path of a judge's grades for a candidate set."""
    return folder / FOLDER / judge / f"{pool}.qrels"
