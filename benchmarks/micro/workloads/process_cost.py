"""Measures the CPU seconds and the peak memory of a command in a process of its own.

The command is started by a small process in between. Linux counts the memory of the process that forks as the
peak of the one that it starts, so that a benchmark with a large candidate set would measure itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_LAUNCHER = """
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
print(json.dumps([process.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3]))
"""


class ProcessCost(NamedTuple):
    """The CPU seconds of a process, start included, and its peak resident memory in megabytes."""

    cpu_seconds: float
    peak_mb: float


def process_cost(command: Sequence[str]) -> ProcessCost:
    """Run a command, its output thrown away, and return its cost.

    Raises:
        RuntimeError: the command failed.
    """
    launcher = [sys.executable, "-c", _LAUNCHER, *command]
    told = subprocess.run(launcher, stdout=subprocess.PIPE, text=True, check=True).stdout
    status, cpu_seconds, peak_mb = json.loads(told)
    if status:
        raise RuntimeError(f"{command[0]} ended with status {status}")
    return ProcessCost(cpu_seconds, peak_mb)


def report_cost(folder: str) -> ProcessCost:
    """Return the cost of `rerankbench report` on a result folder, into a page within it."""
    page = f"{folder}/page.html"
    return process_cost([sys.executable, "-m", "benchmarks.cli", "report", folder, "--out", page])


def table_cost(folder: str) -> ProcessCost:
    """Return the cost of `rerankbench table` on a result folder, as Markdown."""
    return process_cost([sys.executable, "-m", "benchmarks.cli", "table", folder, "--format", "markdown"])
