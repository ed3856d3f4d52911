from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rerankers import RerankRequest, StageClock, create
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST, REVERSE = {"name": "first-stage"}, {"name": "reverse"}


def test_scores_are_sums_of_reciprocal_ranks(
    make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    fusion = create("fusion", {"parts": [FIRST, FIRST, REVERSE], "k": 60})
    (ranking,) = fusion.rerank([make_request("q", ["a", "b", "c"])], clock)
    assert ranking.doc_ids == ("d0", "d1", "d2")
    expected = (2 / 61 + 1 / 63, 2 / 62 + 1 / 62, 2 / 63 + 1 / 61)
    assert ranking.scores == pytest.approx(expected, abs=1e-6)


def test_the_parts_pay_into_one_account(
    tiny_encoder: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    fusion = create("fusion", {"parts": [{"name": "embedding", "options": {"model": tiny_encoder}}] * 2})
    (ranking,) = fusion.rerank([make_request("q", ["a", "b"])], clock)
    # Two embeddings of a second each; two sorts and the fusion of a second each.
    assert ranking.stage_seconds == {"embed": 2.0, "order": 3.0}
    assert ranking.usage.passages_embedded == 4


def test_what_each_part_took_is_kept_apart_and_explains_the_sums(
    tiny_encoder: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    inner = {"name": "fusion", "options": {"parts": [FIRST, REVERSE]}}
    parts = [{"name": "embedding", "options": {"model": tiny_encoder}}, inner]
    (ranking,) = create("fusion", {"parts": parts}).rerank([make_request("q", ["a", "b"])], clock)
    embedding, fusion = ranking.usage.parts
    assert embedding == {
        "reranker": "embedding",
        "stage_seconds": {"embed": 1.0, "order": 1.0},
        "usage": {"passages_embedded": 2},
    }
    assert fusion["stage_seconds"] == {"order": 3.0}  # its two parts' and its own
    assert [part["reranker"] for part in fusion["usage"]["parts"]] == ["first-stage", "reverse"]
    # The whole's own sort is what the parts leave unexplained.
    assert ranking.stage_seconds == {"embed": 1.0, "order": 1.0 + 3.0 + 1.0}


def test_one_part_is_no_fusion() -> None:
    with pytest.raises(InputError, match="option 'parts' of fusion"):
        create("fusion", {"parts": [FIRST]})


def test_an_unknown_part_is_named_with_near_misses() -> None:
    with pytest.raises(InputError, match="did you mean reverse"):
        create("fusion", {"parts": [FIRST, {"name": "revers"}]})


def test_a_part_that_looks_at_the_answers_is_refused() -> None:
    with pytest.raises(InputError, match="looks at the judgements"):
        create("fusion", {"parts": [FIRST, {"name": "oracle"}]})


def test_every_part_is_described(tiny_encoder: str) -> None:
    part = {"name": "embedding", "options": {"model": tiny_encoder}}
    described = create("fusion", {"parts": [FIRST, part]}).describe()
    assert described["k"] == 60.0
    assert [row["reranker"] for row in described["parts"]] == ["first-stage", "embedding"]  # type: ignore[attr-defined]
