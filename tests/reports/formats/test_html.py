from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import json
import re
import shutil
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from markdown_it import MarkdownIt

from benchmarks.results.store import read_results
from reports.analysis.context import build
from reports.formats.explorer import pack, payload
from reports.formats.html import render, report
from reports.tables.by_name import table

if TYPE_CHECKING:
    from pathlib import Path

    from tests.reports.conftest import Folder


class Page(HTMLParser):
    """Collects elements, and the text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self.words.append(data)


def unpacked(page: str) -> Any:
    match = re.search(r'data-role="packed">([^<]+)<', page)
    assert match
    return json.loads(gzip.decompress(base64.b64decode(match.group(1))))


@pytest.fixture
def page(hostile: Folder) -> str:
    return render(build([read_results(hostile.path)]))


def test_hostile_names_come_through_as_text_and_make_no_element(
    page: str, hostile_texts: dict[str, str]
) -> None:
    parsed = Page(page)
    text = "".join(parsed.words)
    for hostile_text in hostile_texts.values():
        assert hostile_text in text
    assert "49" not in re.findall(r"\b49\b", text)
    assert not [tag for tag, _ in parsed.elements if tag == "img"]
    assert not [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")]


def test_the_page_refers_to_nothing_outside_itself(page: str) -> None:
    links = [
        value
        for _, attributes in Page(page).elements
        for name, value in attributes.items()
        if name in ("src", "href", "action", "data", "poster", "srcset") and value
    ]
    assert all(link.startswith(("#", "data:")) for link in links)


def test_every_script_that_runs_is_named_in_the_content_security_policy(page: str) -> None:
    parsed = Page(page)
    policy = next(str(a["content"]) for tag, a in parsed.elements if tag == "meta" and "http-equiv" in a)
    running = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(running) == 2
    for script in running:
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    assert "'unsafe-eval'" not in policy
    assert "default-src 'none'" in policy


def test_the_explorer_holds_every_ranking_grade_and_text(page: str, hostile_texts: dict[str, str]) -> None:
    data = unpacked(page)
    tops = dict(zip(data["systems"], data["tops"], strict=True))
    assert tops["First stage"].split(" ")[0] == "#$%&'()*"  # one character a rank, from "#" for the first
    assert tops["</td>"].split(" ")[0] == "*)('&%$#"
    assert (data["docs"]["q0"][7], data["grades"][0][7]) == ("d7", 2)
    assert (data["docs"]["q0"][0], data["grades"][0][0]) == ("d0", None)
    assert data["texts"]["q0"][:7] == list(hostile_texts.values())
    assert len(data["texts"]["q0"][7].split()) == 10_000


def test_ids_and_texts_of_the_queries_that_divide_the_systems_stay_when_room_is_short(folder: Folder) -> None:
    texts = {"same": ["x" * 100, "y" * 100], "divided": ["x" * 100, "y" * 100]}
    pool = folder.pool(texts, {"same": {}, "divided": {"d1": 1}})
    folder.cell(pool, "A", folder.kept)
    folder.cell(pool, "B", folder.turned)
    (group,) = build([read_results(folder.path)]).groups
    data = payload(group, ranks=20, id_budget=5, text_budget=250)
    assert data["docs"] == {"divided": ["d0", "d1"]}
    assert data["texts"] == {"divided": ["x" * 100, "y" * 100]}
    assert data["grades"] == [[None, None], [None, 1]]


def test_the_explorer_keeps_numbers_as_exactly_as_it_prints_them(folder: Folder) -> None:
    pool = folder.pool({"q": ["x", "y"]}, {"q": {"d1": 1}})
    folder.cell(pool, "A", folder.kept, seconds=lambda _: 0.123456)
    (group,) = build([read_results(folder.path)]).groups
    data = payload(group, ranks=20, id_budget=9, text_budget=9)
    assert data["values"] == [[6309]]  # 1 / log2(2 + 1) = 0.63093, in units of 0.0001
    assert data["ms"] == [[123]]


def test_a_report_made_again_from_copied_records_is_byte_identical(hostile: Folder, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / hostile.path.name
    shutil.copytree(hostile.path, copy)
    assert report([hostile.path]).read_bytes() == report([copy]).read_bytes()


def test_packing_is_deterministic() -> None:
    assert pack({"a": [1, 2]}) == pack({"a": [1, 2]})


def test_tables_and_figures_stand_beside_the_page(folder: Folder) -> None:
    pool = folder.pool({"a": ["x", "y"]}, {"a": {"d0": 1}})
    folder.cell(pool, "S", folder.kept, stages={"forward": 0.05})
    page = report([folder.path], folder.path / "paper" / "page.html")
    assert page == folder.path / "paper" / "page.html"
    written = {path.name for path in page.parent.rglob("*") if path.is_file()}
    assert {
        "headline.tex",
        "headline.md",
        "headline.csv",
        "stages.tex",
        "trade-off-g1.svg",
        "stages-g1.pdf",
    } <= written
    svg = (page.parent / "page-figures" / "trade-off-g1.svg").read_text(encoding="utf-8")
    assert "var(--" not in svg


def test_hostile_names_come_through_latex_and_csv_as_text(
    hostile: Folder, hostile_texts: dict[str, str]
) -> None:
    latex = table([hostile.path], "latex")
    assert latex.count(r"\end{tabular}") == 1
    assert r"\textbackslash{}end\{tabular\} \&\%\_\#\$ \textasciitilde{}\textasciicircum{}" in latex
    rows = list(csv.DictReader(io.StringIO(table([hostile.path], "csv"))))
    labels = [row["system"] for row in rows]
    assert "'=HYPERLINK(1)" in labels
    assert set(hostile_texts.values()) - {"=HYPERLINK(1)"} <= set(labels)
    assert not [value for row in rows for value in row.values() if value.startswith(("=", "@", "+"))]


def test_hostile_names_come_through_markdown_as_text(hostile: Folder, hostile_texts: dict[str, str]) -> None:
    page = Page(MarkdownIt("commonmark").enable("table").render(table([hostile.path], "markdown")))
    allowed_tags = {
        "p",
        "strong",
        "em",
        "ins",
        "sup",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "blockquote",
    }
    assert {name for name, _ in page.elements} <= allowed_tags
    visible_text = " ".join("".join(page.words).split())
    for text in hostile_texts.values():
        assert " ".join(text.split()) in visible_text


def test_a_folder_without_any_finished_cell_still_makes_a_page(folder: Folder) -> None:
    pool = folder.pool({"a": ["x", "y"]}, {"a": {"d0": 1}})
    folder.cell(pool, "S", folder.kept, status="failed", error="no weights", only=0)
    assert "S failed: no weights" in report([folder.path]).read_text(encoding="utf-8")


def test_a_warning_stands_above_the_results_it_concerns_and_below_the_overview(folder: Folder) -> None:
    for dataset in ("fine", "broken"):
        pool = folder.pool({"a": ["x", "y"]}, {"a": {"d1": 1}}, dataset)
        folder.cell(pool, "S", folder.kept)
    folder.cell(pool, "T", folder.kept, status="failed", error="no memory left", only=0)
    text = report([folder.path]).read_text(encoding="utf-8")
    overview, fine, broken = text.split('<section class="group"')
    assert 'role="note">broken: T failed: no memory left</p>' in overview
    assert "no memory left" not in fine
    assert broken.index('role="note">T failed: no memory left</p>') < broken.index("<h2>Results</h2>")
