from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rerankers import RerankRequest, StageClock, create
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_later_step_reorders_the_top_of_what_the_earlier_one_left(
    make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    steps = [{"name": "reverse"}, {"name": "reverse", "depth": 2}]
    (ranking,) = create("cascade", {"steps": steps}).rerank([make_request("q", ["a", "b", "c", "d"])], clock)
    # Reversed: d3 d2 d1 d0; then its first two reversed again.
    assert ranking.doc_ids == ("d2", "d3", "d1", "d0")
    assert ranking.scores == (4.0, 3.0, 2.0, 1.0)


def test_what_the_first_step_does_not_see_stays_below(
    make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    steps = [{"name": "reverse", "depth": 3}, {"name": "first-stage", "depth": 9}]
    (ranking,) = create("cascade", {"steps": steps}).rerank([make_request("q", ["a", "b", "c", "d"])], clock)
    assert ranking.doc_ids == ("d2", "d1", "d0", "d3")


def test_the_steps_pay_into_one_account(
    tiny_encoder: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    embedding = {"name": "embedding", "options": {"model": tiny_encoder}}
    cascade = create("cascade", {"steps": [embedding, {**embedding, "depth": 2}]})
    (ranking,) = cascade.rerank([make_request("q", ["a", "b", "c"])], clock)
    assert ranking.stage_seconds == {"embed": 2.0, "order": 3.0}
    assert ranking.usage.passages_embedded == 3 + 2
    assert [part["usage"] for part in ranking.usage.parts] == [
        {"passages_embedded": 3},
        {"passages_embedded": 2},
    ]
    assert [part["stage_seconds"] for part in ranking.usage.parts] == [{"embed": 1.0, "order": 1.0}] * 2


def test_a_misspelt_step_is_refused() -> None:
    with pytest.raises(InputError, match="dept"):
        create("cascade", {"steps": [{"name": "reverse"}, {"name": "reverse", "dept": 2}]})
