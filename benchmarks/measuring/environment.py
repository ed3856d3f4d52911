"""The environment of a measurement: enough to repeat it and to tell machines apart, without personal names.

`cpu` and `gpu` hold what never changes on a machine, so that two of them can be compared; what changes from
minute to minute is in `state`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.measuring import gpu

LIBRARIES = (
    "rerankbench",
    "torch",
    "transformers",
    "sentence-transformers",
    "accelerate",
    "httpx2",
    "openai",
    "pyserini",
    "ir-datasets",
    "ir-measures",
    "numpy",
    "scipy",
)


def environment() -> dict[str, Any]:
    """Describe this process and machine in JSON values; what cannot be found out is left out."""
    values = {
        "host": host(),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "cpu": _cpu(),
        "gpu": gpu.models(),
        "git": _git(),
        "libraries": _libraries(),
        "threads": _threads(),
        "state": machine_state(),
    }
    return {name: value for name, value in values.items() if value}


def host() -> str:
    """Return a digest of the machine's name, which tells machines apart and names none."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _cpu() -> dict[str, Any]:
    import psutil

    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    return {
        "model": _cpu_model(),
        "cores": psutil.cpu_count(logical=False),
        "usable_threads": len(usable) if usable else psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def _git() -> dict[str, Any]:
    """Return revision of the checkout that the code runs from, and whether tracked files were changed."""
    folder = str(Path(__file__).parents[1])
    try:
        revision = _run_git(folder, "rev-parse", "HEAD")
        changed = _run_git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"revision": revision, "is_dirty": bool(changed)}


def _run_git(folder: str, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", folder, *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


def _libraries() -> dict[str, str]:
    versions = {name: version for name in LIBRARIES if (version := _version(name))}
    torch = sys.modules.get("torch")
    if torch is not None and torch.version.cuda:
        versions["cuda"] = torch.version.cuda
    return versions


@cache
def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _threads() -> dict[str, Any]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TOKENIZERS_PARALLELISM")
    values: dict[str, Any] = {name: os.environ[name] for name in names if name in os.environ}
    torch = sys.modules.get("torch")
    if torch is not None:
        values |= {"torch": torch.get_num_threads(), "torch_interop": torch.get_num_interop_threads()}
    return values


def machine_state() -> dict[str, Any]:
    """Load average (1, 5, 15 minutes), CPU frequency, and each GPU's state, now."""
    import psutil

    state: dict[str, Any] = {"load_average": [round(load, 2) for load in psutil.getloadavg()]}
    frequency = psutil.cpu_freq()
    if frequency is not None:
        state["cpu_mhz"] = round(frequency.current)
    gpus = gpu.state()
    return {**state, "gpu": gpus} if gpus else state
