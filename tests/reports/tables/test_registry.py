"""The registry of tables, and the worked example of docs/your-own-table.md."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.results.store import read_results
from reports.analysis.context import build
from reports.formats.html import report
from reports.tables.by_name import Tables, table
from reports.tables.registry import LAYOUTS, Layout
from rerankers.errors import InputError

if TYPE_CHECKING:
    from tests.reports.conftest import Folder

PAGE = Path(__file__).parents[3] / "docs" / "your-own-table.md"
TEXTS = {f"q{i}": ["x", "y"] for i in range(3)}
QRELS = {"q0": {"d1": 1}, "q1": {"d1": 1}, "q2": {"d0": 1}}


@pytest.fixture
def turned(folder: Folder) -> Folder:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
    folder.cell(pool, "Turned", folder.turned)
    return folder


@pytest.fixture
def own_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the worked example's file into the working folder."""
    source = re.search(
        r"<!-- file: wins\.py -->\n```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    assert source
    (tmp_path / "wins.py").write_text(source[1])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wins", raising=False)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_has_a_function_and_says_what_it_needs(layout: Layout) -> None:
    assert callable(layout.load())
    assert layout.needs


@pytest.mark.usefixtures("own_table")
def test_a_table_of_ones_own_is_printed_by_its_import_path(turned: Folder) -> None:
    lines = table([turned.path], "csv", "wins:tables").splitlines()
    assert lines[0].endswith("wins,ties,losses")
    assert lines[1].endswith("Turned,embedding,done,,2,0,1")


@pytest.mark.usefixtures("own_table")
def test_a_table_is_added_by_one_file_and_one_row(turned: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAYOUTS, "wins", Layout("wins:tables", "no system is compared with another"))
    page = report([turned.path])
    written = {path.name for path in (page.parent / "report-tables").iterdir()}
    assert {"wins.tex", "wins.md", "wins.csv"} <= written
    assert "Turned & 2 & 0 & 1" in (page.parent / "report-tables" / "wins.tex").read_text()


@pytest.mark.parametrize(
    ("layout", "word"), [("no_such_module:tables", "no_such_module"), ("a b:c", "layout")]
)
def test_a_table_that_cannot_be_imported_is_refused_by_name(turned: Folder, layout: str, word: str) -> None:
    with pytest.raises(InputError, match=word):
        table([turned.path], "csv", layout)


def test_each_table_is_built_once(turned: Folder) -> None:
    tables = Tables(build([read_results(turned.path)]))
    assert tables["significance"] is tables["significance"]
    assert tables.by_group("headline")["g1"] is tables["headline"][0]
