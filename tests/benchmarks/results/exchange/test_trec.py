"""Lines of a TREC run: one for each passage, whatever the ids and the scores."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.results.exchange.trec import trec_lines
from rerankers import Ranking
from rerankers.errors import InputError
from rerankers.interface import Usage


@pytest.mark.parametrize(
    "scores",
    [
        (),
        (1.0,),
        (3.0, 2.0, 1.0),  # of a ranking without scores
        (3.0, 2.0, 0.5),
        tuple(float(np.float32(value)) for value in (1e30, 123456.789, 0.1, -1e-20, -7.0)),
    ],
)
def test_each_line_holds_query_passage_rank_score_and_tag(scores: tuple[float, ...]) -> None:
    doc_ids = tuple(f"d%s{place}é" for place in range(len(scores)))
    lines = trec_lines(Ranking("q%d", doc_ids, scores, {}, Usage()), "tag%")
    expected = "".join(
        f"q%d Q0 {doc_id} {rank} {score:.9g} tag%\n"
        for rank, (doc_id, score) in enumerate(zip(doc_ids, scores, strict=True), 1)
    )
    assert lines == expected.encode()


@pytest.mark.parametrize("wrong", ["", " ", "a b", "a\tb", "a\0b", "a\x1fb", "a\u00a0b", "a\u2003b"])
@pytest.mark.parametrize("before", [(), ("d1",), ("é",)])
def test_an_id_that_would_break_its_line_is_refused(wrong: str, before: tuple[str, ...]) -> None:
    doc_ids = (*before, wrong)
    with pytest.raises(InputError, match="rename it"):
        trec_lines(Ranking("q", doc_ids, tuple(map(float, range(len(doc_ids), 0, -1))), {}, Usage()), "tag")
