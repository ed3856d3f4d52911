"""The pages of the one-prompt methods say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rerankers.registry import options_model

PAGES = Path(__file__).parents[3] / "docs" / "methods"
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


@pytest.mark.parametrize("name", ["e2rank", "jina-v3"])
def test_a_method_page_has_every_heading_and_every_option(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == HEADINGS
    table = page.partition("## Options\n")[2].partition("\n### ")[0]
    first_cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    listed = re.findall(r"`(\w+)`", "".join(first_cells))
    assert sorted(listed) == sorted(options_model(name).option_names())
