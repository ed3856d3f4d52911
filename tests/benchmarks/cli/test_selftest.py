"""The self-test passes on a sound harness, and only there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.cli import selftest
from benchmarks.cli.main import main
from benchmarks.evaluation.measures import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    import pytest

TINY = {"candidates": str(selftest.DATA / "candidates.jsonl"), "qrels": str(selftest.DATA / "qrels.txt")}


def test_the_controls_score_what_is_known_beforehand() -> None:
    checks = selftest.check(TINY, "given")
    assert [check.system for check in checks] == ["oracle", "first-stage", "reverse"]
    assert all(check.is_kept for check in checks)


def test_an_average_over_returned_queries_only_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    right = evaluate

    def wrong(rankings: Any, qrels: Any, measures: Any) -> Any:
        returned = {query_id: grades for query_id, grades in qrels.items() if rankings[query_id]}
        return right(rankings, returned, measures)

    monkeypatch.setattr(selftest, "evaluate", wrong)
    assert not selftest.check(TINY, "given")[0].is_kept


def test_lost_candidates_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    right = evaluate

    def wrong(rankings: Any, qrels: Any, measures: Any) -> Any:
        return right({query_id: hits[1:] for query_id, hits in rankings.items()}, qrels, measures)

    monkeypatch.setattr(selftest, "evaluate", wrong)
    assert not all(check.is_kept for check in selftest.check(TINY, "given"))


def test_the_command_fails_when_a_promise_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(selftest, "selftest", lambda: selftest.check(TINY, "given"))
    assert main(["selftest"]) == 0
    broken = selftest.Check("oracle", 0.5, "reachable 1.0000", is_kept=False)
    monkeypatch.setattr(selftest, "selftest", lambda: [broken])
    assert main(["selftest"]) == 1
    assert "WRONG  oracle        nDCG@10 0.5000, reachable 1.0000" in capsys.readouterr().out


def test_without_java_it_runs_on_its_own_data(
    monkeypatch: pytest.MonkeyPatch, write_candidates: Callable[..., Path]
) -> None:
    from benchmarks.first_stages.java import JavaStatus

    monkeypatch.setattr(selftest, "java_status", lambda: JavaStatus(()))
    assert all(check.is_kept for check in selftest.selftest())
