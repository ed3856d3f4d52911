"""The harness from Python: one function, the same results as the command line."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks import run_experiment
from benchmarks.cli.selftest import DATA
from benchmarks.results.store import read_results
from rerankers import RerankbenchError

if TYPE_CHECKING:
    from pathlib import Path

EXPERIMENT = {
    "name": "small",
    "datasets": {"candidates": DATA / "candidates.jsonl", "qrels": DATA / "qrels.txt"},
    "first_stages": "given",
    "rerankers": ["first-stage", "reverse"],
}


def test_an_experiment_of_values_is_run_and_resumed(tmp_path: Path) -> None:
    outcome = run_experiment(EXPERIMENT, out=tmp_path / "runs", limit=1)
    assert (outcome.cells, outcome.failures, outcome.folder) == (2, {}, tmp_path / "runs")
    cells = read_results(outcome.folder).cells
    assert {len(cell.rows) for cell in cells} == {1}
    rows = [cell.rows for cell in cells]
    again = run_experiment(EXPERIMENT, out=tmp_path / "runs", limit=1)
    assert [cell.rows for cell in read_results(again.folder).cells] == rows


def test_a_wrong_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(RerankbenchError, match="rerankrs"):
        run_experiment({**EXPERIMENT, "rerankrs": []}, out=tmp_path)


def test_the_packages_import_neither_models_nor_tables() -> None:
    script = "import benchmarks, reports, sys; print({'torch', 'pandas', 'pydantic'} & {*sys.modules})"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
