"""The pages of settings and data formats are the code's, and their examples are read by its readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.candidates.file import read_candidates
from benchmarks.cli.convert import convert
from benchmarks.datasets.formats.collection import read_queries
from benchmarks.datasets.sources import open_dataset
from benchmarks.datasets.specs import DatasetSpec
from benchmarks.experiments.key_tables import meanings_of, nested_models
from benchmarks.training_data import reference
from benchmarks.training_data.appended import Appended
from benchmarks.training_data.distillation_settings import Distillation
from benchmarks.training_data.queries.making import question_row
from rerankers.training.cross_encoder.settings import CrossEncoderSettings
from rerankers.training.data.records import read_alignment, read_ranking
from rerankers.training.e2rank.data import read_lists
from rerankers.training.e2rank.settings import E2RankSettings
from rerankers.training.settings import STAGES
from rerankers.training.text.settings import TextSettings

if TYPE_CHECKING:
    from pydantic import BaseModel

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize(
    ("name", "what"), [("training-settings.md", "settings"), ("training-data.md", "data")]
)
def test_the_pages_are_the_codes(name: str, what: str) -> None:
    page = (DOCS / name).read_text(encoding="utf-8")
    advice = f"run: python -m benchmarks.training_data.reference {what} > docs/{name}"
    assert page == getattr(reference, what)() + "\n", advice


@pytest.mark.parametrize(
    "model", [*STAGES.values(), Distillation, E2RankSettings, TextSettings, CrossEncoderSettings]
)
def test_every_key_has_a_meaning_and_a_row(model: type[BaseModel]) -> None:
    page = reference.settings()
    for settings in [model, *nested_models(model)]:
        for name in settings.model_fields:
            is_told = name == "kind" or meanings_of(settings).get(name, "").strip()
            assert is_told, f"{settings.__name__}.{name} is not explained in its docstring"
            assert f"\n| `{name}` | " in page


def test_a_row_says_type_default_bounds_and_meaning() -> None:
    rows: dict[str, str] = {}
    for line in reference.settings().splitlines():
        rows.setdefault(line.split(" | ")[0], line)
    warmup = "| `warmup` | number, at least 0, less than 1 | `0.03` | share of all steps"
    assert rows["| `warmup`"].startswith(warmup)
    assert " | paper \\| released | `'paper'` | " in rows["| `reduction`"]
    assert "| number, more than 0 | **needed** |" in rows["| `learning_rate`"]
    assert "| [OptimizerSettings](#optimizersettings) |" in rows["| `optimizer`"]


def read(name: str, folder: Path) -> Any:
    """Read a format's example by the reader of the commands."""
    files = {path.name: path for path in folder.rglob("*") if path.is_file()}
    match name:
        case "collection":
            dataset = open_dataset(DatasetSpec(folder=str(folder), split="train"))
            titles = dataset.fields("title")
            return dataset.texts(["d1"]), dataset.queries, dataset.qrels, titles["d2"]
        case "test_queries":
            return read_queries(files["topics.tsv"])
        case "candidates":
            return read_candidates(files["candidates.jsonl"]).hits
        case "labelled":
            return convert(files["triples.jsonl"], folder / "converted")[:2]
        case "alignment":
            return [record.extra_texts for record in read_alignment(files["pairs.jsonl"])]
        case "lists":
            return [record.ranking for record in read_ranking(files["lists.jsonl"])]
        case "published_lists":
            return [(record.query, record.ranking) for record in read_ranking(files["train.jsonl"])]
        case "e2rank_lists":
            return [
                (example.ranking, example.source) for example in read_lists(files["train_ranking.jsonl"], 2)
            ]
        case "made_queries":
            path = files["lists.queries.jsonl"]
            about = json.loads(path.read_text().splitlines()[0])["about"]
            return [row["doc_id"] for row in Appended(path, about, question_row).rows]
    pytest.fail(f"no reader is known for the format {name}")


EXPECTED: dict[str, Any] = {
    "collection": (
        {"d1": "Paging in Virtual Memory Pages are fetched when they are first used."},
        {"q1": "when are pages loaded"},
        {"q1": {"d1": 1}},
        "Hashing with Open Addressing",
    ),
    "test_queries": {
        "301": "what is demand paging",
        "302": "how does open addressing resolve collisions",
    },
    "candidates": {"q1": [("d1", 7.5), ("d2", 1.2)]},
    "labelled": (2, 3),
    "alignment": [("Pages are fetched when they are first used.",)],
    "lists": [(1, 0), (0, 1)],
    "published_lists": [("paging", (1, 0))],
    "e2rank_lists": [((1, 0), "msmarco")],
    "made_queries": ["d1", "d2"],
}


@pytest.mark.parametrize("name", reference.data_formats())
def test_every_example_is_read_as_the_page_says(name: str, tmp_path: Path) -> None:
    for file, text in reference.data_formats()[name].files.items():
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.lstrip("\n"), encoding="utf-8")
    assert read(name, tmp_path) == EXPECTED[name]
