"""Time and memory of `rerankbench report` and `table` at the size of MS MARCO's dev set.

    pytest benchmarks/micro/test_report.py --benchmark-only

4 systems, then 30, of 6,980 queries and 100 candidates each, made by `workloads.large_report`. Each command
runs in a process of its own: `extra_info` has its CPU seconds and peak resident memory in megabytes, start
included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.micro.workloads.large_report import make_folder
from benchmarks.micro.workloads.process_cost import report_cost, table_cost

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUERIES, DEPTH = 6980, 100


@pytest.fixture(scope="module", params=[4, 30])
def folder(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """Write a result folder of 4 or 30 systems, and return their number and the folder."""
    path = tmp_path_factory.mktemp("report")
    make_folder(path, request.param, 1, QUERIES, DEPTH)
    return request.param, path


@pytest.mark.parametrize("command", ["report", "table"])
def test_a_large_folder(
    benchmark: Any, folder: tuple[int, Path], command: str, measured: Callable[[str, float], None]
) -> None:
    systems, path = folder
    cost_of = {"report": report_cost, "table": table_cost}[command]
    cpu_seconds, peak_mb = benchmark.pedantic(cost_of, [str(path)], rounds=1)
    benchmark.extra_info |= {"cpu_seconds": cpu_seconds, "peak_mb": peak_mb}
    if command == "report" and systems == 4:
        measured("report/cpu-seconds", cpu_seconds)
        measured("report/peak-mb", peak_mb)
    elif command == "report":
        measured("report/peak-mb-30-systems", peak_mb)
