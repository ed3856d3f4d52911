"""Rerankers are PyTerrier transformers."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from rerankers.errors import InputError, MissingExtraError

needs_pyterrier = pytest.mark.skipif(
    importlib.util.find_spec("pyterrier") is None,
    reason='PyTerrier is not installed: python -m pip install "rerankbench[pyterrier]"',
)


def test_without_pyterrier_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "rerankers.integrations.pyterrier", raising=False)
    monkeypatch.setitem(sys.modules, "pyterrier", None)
    with pytest.raises(MissingExtraError, match=r'pip install "rerankbench\[pyterrier\]"'):
        importlib.import_module("rerankers.integrations.pyterrier")


@needs_pyterrier
def test_a_frame_comes_back_ranked_with_its_other_columns() -> None:
    import pandas as pd

    from rerankers.integrations.pyterrier import RerankTransformer

    rows = [
        ("q2", "two", "d3", "c", 5.0, "kept 3"),
        ("q1", "one", "d1", "a", 1.0, "kept 1"),
        ("q1", "one", "d2", "b", 2.0, "kept 2"),
    ]
    frame = pd.DataFrame(rows, columns=["qid", "query", "docno", "text", "score", "url"])
    rerank = RerankTransformer("reverse")
    ranked = rerank.transform(frame)
    assert ranked[["qid", "docno", "rank", "url"]].to_numpy().tolist() == [
        ["q2", "d3", 0, "kept 3"],
        ["q1", "d1", 0, "kept 1"],  # the given order was d2, d1
        ["q1", "d2", 1, "kept 2"],
    ]
    assert ranked["score"].tolist() == [1.0, 2.0, 1.0]
    assert rerank.stage_seconds["q1"].keys() == {"order"}
    unscored = rerank.transform(frame.drop(columns="score"))  # then the rows are the given order
    assert unscored["docno"].tolist() == ["d3", "d2", "d1"]


@needs_pyterrier
def test_a_frame_without_texts_is_refused() -> None:
    import pandas as pd

    from rerankers.integrations.pyterrier import RerankTransformer

    frame = pd.DataFrame([("q", "query", "d")], columns=["qid", "query", "docno"])
    with pytest.raises(InputError, match=r"no column 'text'; text comes from pt.text.get_text"):
        RerankTransformer("reverse").transform(frame)


@needs_pyterrier
def test_a_transformer_prints_as_the_call_that_makes_it() -> None:
    from rerankers.integrations.pyterrier import RerankTransformer

    assert repr(RerankTransformer("reverse")) == "RerankTransformer('reverse')"
    random = RerankTransformer("random", {"seed": 3})
    assert repr(random) == "RerankTransformer('random', {'seed': 3})"
    assert repr(eval(repr(random), {"RerankTransformer": RerankTransformer})) == repr(random)  # noqa: S307 - our own text
    assert "RerankTransformer('reverse')" in repr(RerankTransformer("reverse") % 2)


@needs_pyterrier
def test_a_transformer_prints_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    from rerankers.integrations.pyterrier import RerankTransformer

    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    options = {"model": "m", "backend": "openai", "base_url": "http://localhost:9/v1?key=sk-very-secret"}
    assert "sk-very-secret" not in repr(RerankTransformer("rankgpt", options))


@needs_pyterrier
def test_a_frame_without_rows_stays_empty_and_gets_its_columns() -> None:
    import pandas as pd

    from rerankers.integrations.pyterrier import RerankTransformer

    frame = pd.DataFrame(columns=["qid", "query", "docno", "text"])
    ranked = RerankTransformer("reverse").transform(frame)
    assert list(ranked.columns) == ["qid", "query", "docno", "text", "score", "rank"]
    assert ranked.empty
