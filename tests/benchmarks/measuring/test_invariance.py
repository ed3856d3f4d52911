"""Scores alone and in a batch are compared, by the doctor and for the record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from benchmarks.cli.main import main
from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from benchmarks.measuring.invariance import ScoreDifference, score_difference
from benchmarks.results.store import read_results
from rerankers.interface import Cost, Ranking, Reranker, RerankRequest
from rerankers.options import MethodOptions
from rerankers.registry import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rerankers.stages import StageClock


class LengthOptions(MethodOptions):
    implementation: ClassVar[str] = f"{__name__}:LengthScores"

    leak: float = 0.0


class ListOptions(LengthOptions):
    implementation: ClassVar[str] = f"{__name__}:ListScores"


class LengthScores(Reranker):
    """Scores a passage by its length; `leak` times the number of candidates is taken off a long one."""

    scores_passages_alone = True

    def __init__(self, options: LengthOptions) -> None:
        self._leak = options.leak

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        rankings = []
        for request in requests:
            count = len(request.candidates)
            lengths = [len(candidate.text) for candidate in request.candidates]
            scores = [length - self._leak * count * (length > 2) for length in lengths]
            rankings.append(Ranking.by_score(request, scores, Cost()))
        return rankings


class ListScores(LengthScores):
    """Scores that depend on the other passages."""

    scores_passages_alone = False


@pytest.fixture
def request_of_three(make_request: Callable[..., RerankRequest]) -> RerankRequest:
    return make_request("bees", ["a", "aa", "aaa"])


def test_exact_scores_differ_by_nothing(request_of_three: RerankRequest) -> None:
    difference = score_difference(LengthScores(LengthOptions()), [request_of_three])
    assert difference == ScoreDifference(passages=3, largest_difference=0.0, score_range=2.0, same_order=True)


def test_scores_that_depend_on_the_batch_are_told(request_of_three: RerankRequest) -> None:
    difference = score_difference(LengthScores(LengthOptions(leak=1.0)), [request_of_three])
    # "aaa": 3 - 1 alone, 3 - 3 in a batch of three; alone it ties with "aa", which scores 2
    assert difference is not None
    assert (difference.largest_difference, difference.score_range, difference.same_order) == (2.0, 1.0, False)
    assert "ANOTHER ORDER" in str(difference)


def test_passages_that_tie_alone_have_no_order_to_lose(make_request: Callable[..., RerankRequest]) -> None:
    difference = score_difference(LengthScores(LengthOptions()), [make_request("bees", ["ab", "cd", "a"])])
    assert difference is not None
    assert difference.same_order
    assert difference.largest_difference < 1e-6  # equal scores are moved apart by the smallest step


def test_a_listwise_reranker_has_no_scores_to_compare(request_of_three: RerankRequest) -> None:
    assert score_difference(ListScores(ListOptions()), [request_of_three]) is None


def test_passages_of_every_length_are_compared(make_request: Callable[..., RerankRequest]) -> None:
    texts = ["a" * length for length in range(1, 40)]
    difference = score_difference(
        LengthScores(LengthOptions(leak=1.0)), [make_request("bees", [*texts, *texts])]
    )
    assert difference is not None
    assert difference.passages == 6
    assert difference.score_range == 39 - 1 - 1  # the longest less the shortest


def test_the_record_keeps_the_comparison(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "length", f"{__name__}:LengthOptions")
    monkeypatch.setitem(METHODS, "list", f"{__name__}:ListOptions")
    experiment, config = load_experiment(write_experiment(rerankers=["length", "list"]), [])
    assert run(experiment, config, tmp_path / "out").exit_status == 0
    length, listwise = (cell.record for cell in read_results(tmp_path / "out").cells)
    assert length.system.described["batch_invariance"]["same_order"]
    assert length.sessions[-1].described == length.system.described
    assert "batch_invariance" not in listwise.system.described


@pytest.mark.parametrize(
    ("name", "options", "lines"),
    [
        ("query-likelihood", {}, ["scores of 6 passages alone and in a batch", "0 of 3 queries"]),
        ("setwise", {"backend": "transformers", "top": 1}, ["0 of 3 queries"]),
    ],
)
def test_the_doctor_compares_a_model_alone_and_in_a_batch(
    name: str,
    options: dict[str, Any],
    lines: list[str],
    tiny_llm: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pairs = [f"{key}={value}" for key, value in {"model": tiny_llm, **options}.items()]
    assert main(["doctor", "--reranker", name, "--option", *pairs]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(lines)
    for expected, line in zip(lines, printed, strict=True):
        assert expected in line


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--reranker", "oracle"], "looks at the judgements"),
        (
            ["--reranker", "rankgpt", "--option", "model=m", "base_url=http://localhost/v1"],
            "calls an endpoint",
        ),
        (["--option", "model=m"], "Name it with --reranker"),
    ],
)
def test_what_the_doctor_cannot_compare_is_refused(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *arguments]) == 2
    assert reason in capsys.readouterr().err
