"""Every method has a page of the same form, and stands in the overview."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rerankers.registry import METHODS, options_model

FOLDER = Path(__file__).parents[1] / "docs" / "methods"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
OVERVIEW = (FOLDER / "README.md").read_text(encoding="utf-8")
HEADINGS = [
    "Paper",
    "What enters the model",
    "What is scored",
    "Windows",
    "Cost per query",
    "Published figures",
    "How it was checked",
    "Options",
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_method_page_answers_the_same_questions_in_the_same_order(page: Path) -> None:
    headings = re.findall(r"^## (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert [heading for heading in headings if heading in HEADINGS] == HEADINGS


@pytest.mark.parametrize("name", ["e2rank", "jina-v3"])
def test_a_page_with_a_table_of_options_lists_all_of_them(name: str) -> None:
    page = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    table = page.partition("## Options\n")[2].partition("\n### ")[0]
    first_cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    listed = re.findall(r"`(\w+)`", "".join(first_cells))
    assert sorted(listed) == sorted(options_model(name).option_names())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_tests_and_files_that_a_page_names_exist(page: Path) -> None:
    root = FOLDER.parents[1]
    named = re.findall(
        r"`((?:tests|benchmarks|rerankers|reports)/[\w/.]+)`", page.read_text(encoding="utf-8")
    )
    assert [name for name in named if not (root / name).exists()] == []


def test_the_overview_names_every_method_and_every_page() -> None:
    assert [name for name in METHODS if f"`{name}`" not in OVERVIEW] == []
    linked = set(re.findall(r"\(([\w-]+\.md)\)", OVERVIEW))
    assert linked == {page.name for page in PAGES}
