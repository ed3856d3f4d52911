"""What a report of fixed records contains, to the letter. After a wanted change, write the files anew with

    RERANKBENCH_WRITE_GOLDEN=1 pytest tests/reports/test_golden.py

and read the difference before committing it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.results.store import read_results
from reports.analysis.context import build
from reports.formats import csv, latex, markdown
from reports.formats.explorer import payloads
from reports.tables.by_name import tables
from rerankers.interface import Usage

if TYPE_CHECKING:
    from reports.analysis.values import Context
    from tests.reports.conftest import Folder

GOLDEN = Path(__file__).parents[1] / "golden" / "reports"
LAYOUTS = ("headline", "stages", "costs", "datasets", "significance", "ablation")


@pytest.fixture
def context(folder: Folder) -> Context:
    """Three systems on two datasets, one of them under two windows, one failed."""
    for dataset, relevant in (("easy", "d1"), ("hard", "d3")):
        texts = {f"q{i}": [f"passage {n} of {i}" for n in range(5)] for i in range(6)}
        pool = folder.pool(texts, {query_id: {relevant: 2, "d0": 0} for query_id in texts}, dataset)
        folder.cell(pool, "First stage", folder.kept, reranker="first-stage", seconds=lambda _: 1e-5)
        for window in (2, 4):
            folder.cell(
                pool,
                f"Window {window}",
                folder.turned if window == 4 else lambda _: [1, 0, 2, 3, 4],
                reranker="rankgpt",
                options={"window": window},
                seconds=lambda i, window=window: window / 2 + i / 10,  # type: ignore[misc]
                stages={"prefill": 0.25, "decode": 0.5},
                usage=lambda: Usage(llm_calls=9, well_formed=8, prompt_tokens=1950, faults={"missing": 1}),
                described={"notice": "temperature 0 & no sampling"},
            )
        folder.cell(pool, "Broken", folder.kept, status="failed", error="out of memory", only=0)
    return build([read_results(folder.path)])


def plain(value: Any) -> Any:
    """JSON of what a page shows: numbers to nine digits, pools by their digest."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.name != "version"]
        return {
            name: getattr(value, name).digest if name == "pool" else plain(getattr(value, name))
            for name in names
        }
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def rounded(text: str) -> str:
    """CSV with its numbers to nine digits: the last ones of full precision differ between machines."""
    return re.sub(r"(?<![^,\n])-?\d+\.\d+(e-?\d+)?(?![^,\n])", lambda match: f"{float(match[0]):.9g}", text)


def golden(name: str, text: str) -> str:
    """Return the pinned text, which is this one when asked to be."""
    path = GOLDEN / name
    if os.environ.get("RERANKBENCH_WRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")


def test_the_context_of_a_page_is_what_it_was(context: Context) -> None:
    text = json.dumps(plain(context), indent=1, ensure_ascii=False) + "\n"
    assert text == golden("context.json", text)


def test_the_explorer_of_a_page_is_what_it_was(context: Context) -> None:
    text = json.dumps(payloads(context.groups), indent=1, ensure_ascii=False) + "\n"
    assert text == golden("explorer.json", text)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("writer", [latex, markdown, csv], ids=["tex", "md", "csv"])
def test_a_table_is_what_it_was(context: Context, layout: str, writer: Any) -> None:
    assert tables(context, layout)
    suffix = writer.__name__.rpartition(".")[2].replace("latex", "tex").replace("markdown", "md")
    text = writer.render(tables(context, layout))
    if suffix == "csv":
        text = rounded(text)
    assert text == golden(f"{layout}.{suffix}", text)
