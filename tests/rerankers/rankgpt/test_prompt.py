from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rerankers.rankgpt.prompt import passage_words, ranking_messages

if TYPE_CHECKING:
    from pathlib import Path


def test_messages_are_those_of_the_published_code(golden: Path) -> None:
    cases = json.loads((golden / "rankgpt" / "golden.json").read_text(encoding="utf-8"))["messages"]
    assert len(cases) == 3
    for case in cases:
        shortened = [" ".join(passage_words(passage)[:300]) for passage in case["passages"]]
        assert ranking_messages(case["query"], shortened) == case["messages"]
