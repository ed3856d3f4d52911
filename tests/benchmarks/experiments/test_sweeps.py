"""One file crosses everything that is varied; only what changed is run; the result is one tidy table."""

from __future__ import annotations

import shutil
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from safetensors.numpy import load_file, save_file

from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from benchmarks.experiments.plan import plan
from benchmarks.results.exchange.export import export
from benchmarks.results.store import read_results

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OPTIONS: dict[str, list[Any]] = {
    "window": [3, 4],
    "step": [1, 2],
    "initial_order": ["given", "reversed"],
    "max_length": [8, 16],
}
DEPTHS = [4, 6]
COLUMNS = ["option.encoder", "first_stage.kind", "depth", *(f"option.{name}" for name in OPTIONS)]


@pytest.fixture
def encoders(golden: Path, tmp_path: Path) -> list[str]:
    """Two encoders of one shape."""
    copies = [shutil.copytree(golden / "pe_rank" / "mistral" / "encoder", tmp_path / name) for name in "ab"]
    weights = load_file(copies[1] / "model.safetensors")
    save_file({name: 1.5 * values for name, values in weights.items()}, copies[1] / "model.safetensors")
    return [str(folder) for folder in copies]


@pytest.fixture
def sweep(tmp_path: Path, write_experiment: Callable[..., Path], golden: Path, encoders: list[str]) -> Path:
    """Return a grid of encoder x first stage x depth x window x step x order x truncation,
    of PE-Rank on two queries.
    """
    path = write_experiment(queries=2, depth=6)
    (tmp_path / "turned.trec").write_text(
        "".join(f"q{q} Q0 q{q}-d{p} {6 - p} {p + 1} turned\n" for q in range(2) for p in range(6))
    )
    options = {
        "model": str(golden / "pe_rank" / "mistral"),
        "encoder": encoders,
        "pooling": "mean",
        **OPTIONS,
    }
    content = {
        **yaml.safe_load(path.read_text()),
        "first_stages": ["given", {"kind": "run", "path": "turned.trec"}],
        "depths": DEPTHS,
        "rerankers": [
            {"name": "pe-rank", "options": {**options, "allow_encoder_swap": True, "device": "cpu"}}
        ],
        "protocol": {"warmup": 0},
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_seven_factors_in_one_file_are_crossed(sweep: Path, encoders: list[str]) -> None:
    cells = plan(load_experiment(sweep)[0])
    assert len({cell.name for cell in cells}) == 2**7
    points = [
        (
            cell.options["encoder"],
            cell.pool.first_stage.kind,
            cell.pool.depth,
            *(cell.options[name] for name in OPTIONS),
        )
        for cell in cells
    ]
    assert sorted(points) == sorted(product(encoders, ["given", "run"], DEPTHS, *OPTIONS.values()))


def test_factors_are_the_columns_of_one_table_and_only_what_changed_is_run(
    sweep: Path, encoders: list[str], tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    fewer = [f"rerankers.0.options.{name}=[{OPTIONS[name][0]}]" for name in ("step", "max_length")]
    fewer.append(f"depths=[{DEPTHS[0]}]")

    def results(windows: list[int]) -> dict[str, int]:
        """When each cell was measured, by its folder."""
        changed = [*fewer, f"rerankers.0.options.window={windows}"]
        assert run(*load_experiment(sweep, changed), tmp_path / "out").exit_status == 0
        names = [cell.record.cell for cell in read_results(tmp_path / "out").cells]
        return {name: (tmp_path / "out" / name / "queries.jsonl").stat().st_mtime_ns for name in names}

    first = results([3])
    both = results([3, 4])
    assert len(first) == 2**3
    assert len(both) == 2**4
    assert {name: both[name] for name in first} == first
    (path,) = export(tmp_path / "out", "parquet", tmp_path / "table")
    table = parquet.read_table(path).to_pylist()
    points = product(encoders, ["given", "run"], [4], [3, 4], [1], ["given", "reversed"], [8])
    seen = [tuple(row[name] for name in COLUMNS) for row in table if row["query_id"] == "q0"]
    assert sorted(seen) == sorted(points)
    assert all(row["nDCG@10"] is not None and row["total_seconds"] > 0 for row in table)
