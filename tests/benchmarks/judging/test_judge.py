"""A model's grades fill holes in judgements, beside them, and nothing is asked or paid twice."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from benchmarks.cli.main import main
from benchmarks.results.judgements import grades_of, judges
from benchmarks.results.merge import merge
from benchmarks.results.store import read_results

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Grader

FILLED = {"d0": 0, "d2": 2, "d3": 3, "d4": 0}
"""Of passages that are not judged, what the grader writes: the number in their text, rank modulo 4."""


def judged(results: Path, grader: Grader, *more: str) -> int:
    words = ["judge", str(results), "--model", "scripted", "--option", f"base_url={grader.url}", *more]
    return main(words)


def only_grades(results: Path) -> dict[str, dict[str, int]]:
    [(name, about)] = judges(results).items()
    [pool] = about.sets
    return grades_of(results, name, about, pool)


def test_holes_get_the_models_grades_in_a_file_of_their_own(
    results: Path, grader: Grader, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = next((results / "pools").glob("*/pool.jsonl.gz"))
    before = pool.read_bytes()
    assert judged(results, grader, "--agreement", "0") == 0
    assert only_grades(results) == {"q1": FILLED, "q2": FILLED}
    assert pool.read_bytes() == before
    [about] = judges(results).values()
    [judged_set] = about.sets.values()
    assert (judged_set.filled, judged_set.repeated, judged_set.faults, judged_set.scale) == (
        8,
        0,
        {},
        (0, 1, 2, 3),
    )
    assert about.usage["prompt_tokens"] == 6 * 1000  # d0 and d4 have one text, which is asked about once
    assert "rerankbench report" in capsys.readouterr().out


def test_the_prompt_is_umbrelas_with_query_and_passage_as_text(results: Path, grader: Grader) -> None:
    judged(results, grader, "--agreement", "0", "--depth", "1")  # d0 of the first stage
    prompt = next(prompt_text for prompt_text in grader.prompts if "query q1" in prompt_text)
    assert prompt.startswith("Given a query and a passage, you must provide a score on an integer scale of 0")
    assert "\nQuery: query q1\nPassage: worth " in prompt
    assert prompt.endswith("##final score: score without providing any reasoning.")


def test_only_the_first_ranks_of_systems_are_asked_about(results: Path, grader: Grader) -> None:
    judged(results, grader, "--agreement", "0", "--depth", "1")
    assert only_grades(results) == {
        "q1": {"d0": 0},
        "q2": {"d0": 0},
    }  # controls, such as reverse, do not count


def test_judged_passages_are_graded_again_to_measure_the_agreement(results: Path, grader: Grader) -> None:
    judged(results, grader, "--agreement", "3")
    [about] = judges(results).values()
    [judged_set] = about.sets.values()
    assert (judged_set.filled, judged_set.repeated) == (8, 3)


def test_nothing_is_asked_twice(results: Path, grader: Grader) -> None:
    judged(results, grader)
    prompt_count, before = len(grader.prompts), only_grades(results)
    assert judged(results, grader) == 0
    assert (len(grader.prompts), only_grades(results)) == (prompt_count, before)


def test_a_lost_answers_file_is_replayed_from_the_cached_responses(results: Path, grader: Grader) -> None:
    judged(results, grader)
    prompt_count, before = len(grader.prompts), only_grades(results)
    next(results.glob("judgements/*/answers.jsonl")).unlink()
    judged(results, grader)
    assert (len(grader.prompts), only_grades(results)) == (prompt_count, before)


def test_a_budget_ends_the_judging_and_a_larger_one_goes_on(
    results: Path, grader: Grader, capsys: pytest.CaptureFixture[str]
) -> None:
    # A call sets aside what its prompt's bytes could cost at most, and costs 1,000 + 100 tokens: $0.0011.
    priced = ("--option", "price={input: 1, output: 1}", "concurrency=1", "--agreement", "0")
    assert judged(results, grader, *priced, "--budget", "0.005") == 1
    assert "budget" in capsys.readouterr().err
    prompt_count = len(grader.prompts)
    assert 0 < prompt_count < 6
    assert not judges(results)  # a part of the grades would be read as all of them
    assert judged(results, grader, *priced, "--budget", "1") == 0
    assert len(grader.prompts) == 6
    assert only_grades(results) == {"q1": FILLED, "q2": FILLED}


def test_outputs_without_a_grade_leave_their_passages_unjudged(results: Path, grader: Grader) -> None:
    grader.write = lambda prompt: "I cannot say." if "worth 3" in prompt else "##final score: 1"
    judged(results, grader, "--agreement", "0")
    [about] = judges(results).values()
    [judged_set] = about.sets.values()
    assert (judged_set.filled, judged_set.faults) == (6, {"malformed": 2})  # d3 of both queries
    assert only_grades(results)["q1"] == {"d0": 1, "d2": 1, "d4": 1}


def test_binary_judgements_count_grades_2_and_3_as_relevant(results: Path, grader: Grader) -> None:
    rejudge(results, "1")
    judged(results, grader, "--agreement", "0")
    assert only_grades(results)["q1"] == {"d0": 0, "d2": 1, "d3": 1, "d4": 0}


def test_another_scale_of_grades_is_asked_for(
    results: Path, grader: Grader, capsys: pytest.CaptureFixture[str]
) -> None:
    rejudge(results, "4")
    assert judged(results, grader) == 2
    assert "highest grade of its judgements is 4" in capsys.readouterr().err
    assert judged(results, grader, "--agreement", "0", "--scale", "0,1,3,4") == 0
    assert only_grades(results)["q1"] == {"d0": 0, "d2": 3, "d3": 4, "d4": 0}


@pytest.mark.parametrize("scale", ["0,1", "0,2,1,3", "a,b,c,d", "0,1,2,-3"])
def test_a_scale_is_four_grades_that_never_fall(
    results: Path, grader: Grader, scale: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged(results, grader, f"--scale={scale}") == 2
    assert "--scale" in capsys.readouterr().err
    assert not grader.prompts


@pytest.mark.parametrize(
    ("option", "message"),
    [("base_ulr=x", "base_url"), ("concurrency=0", "concurrency"), ("revision=main", "revision")],
)
def test_a_wrong_option_is_one_line(
    results: Path, grader: Grader, option: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged(results, grader, "--option", option) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_results_without_texts_are_refused(
    results: Path, grader: Grader, capsys: pytest.CaptureFixture[str]
) -> None:
    next(results.glob("pools/*/texts.jsonl.gz")).unlink()
    assert judged(results, grader) == 2
    assert "without texts" in capsys.readouterr().err


def test_changed_grades_are_refused(
    results: Path, grader: Grader, capsys: pytest.CaptureFixture[str]
) -> None:
    judged(results, grader)
    path = next(results.glob("judgements/*/*.qrels"))
    path.write_text(path.read_text().replace("d0 0", "d0 3"))
    assert main(["table", str(results), "--format", "csv"]) == 1
    assert "changed since it was written" in capsys.readouterr().err


def test_merged_folders_keep_the_grades(results: Path, grader: Grader, tmp_path: Path) -> None:
    judged(results, grader)
    merge([results], tmp_path / "all")
    assert only_grades(tmp_path / "all") == only_grades(results)
    merge([results], tmp_path / "all")
    assert only_grades(tmp_path / "all") == only_grades(results)


def test_a_sentence_of_the_report_says_which_judgements_it_rests_on(results: Path, grader: Grader) -> None:
    judged(results, grader)
    assert main(["report", str(results)]) == 0
    page = (results / "report.html").read_text()
    assert re.search(r"With 8 unjudged passages graded by scripted,\s*<strong>", page)
    assert "Cohen" in page


def rejudge(results: Path, grade: str) -> None:
    """Measure again in the same folder, with another highest grade."""
    from benchmarks.executors.local import run
    from benchmarks.experiments.config import load_experiment

    qrels = results.parent / "qrels.txt"
    qrels.write_text(qrels.read_text().replace(" 3\n", f" {grade}\n"))
    run(*load_experiment(results.parent / "holes.yaml"), results)
    assert json.loads((results / "experiment.json").read_text())["cells"]
    assert len(read_results(results).cells) == 3
