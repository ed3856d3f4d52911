"""A description of the process and machine that measured, with no personal names.

It is enough to repeat a measurement and to tell machines apart. `cpu` and `gpu` hold what never changes on a
machine, so that two of them can be compared; what changes from minute to minute is in `state`.
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
    """Return a description of this process and machine as JSON values; what is unknown is left out.

    Keys are `host`, `os`, `python`, `cpu`, `gpu`, `git`, `libraries`, `threads` and `state`.
    """
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
    """Return 8 hex digits of a digest of the machine's name, to tell machines apart."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _cpu() -> dict[str, Any]:
    """Return the CPU's model, physical cores, threads that this process may use, and memory in bytes."""
    import psutil

    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    return {
        "model": _cpu_model(),
        "cores": psutil.cpu_count(logical=False),
        "usable_threads": len(usable) if usable else psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
    }


def _cpu_model() -> str:
    """Return the CPU's model name; the architecture where the system gives no name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def _git() -> dict[str, Any]:
    """Return the checkout's git revision and whether tracked files were changed; {} outside of one."""
    folder = str(Path(__file__).parents[1])
    try:
        revision = _run_git(folder, "rev-parse", "HEAD")
        changed = _run_git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"revision": revision, "is_dirty": bool(changed)}


def _run_git(folder: str, *arguments: str) -> str:
    """Run a git command in a folder and return what it prints.

    Raises:
        subprocess.SubprocessError: it fails or takes over 10 seconds; OSError where git is not installed.
    """
    done = subprocess.run(
        ["git", "-C", folder, *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


def _libraries() -> dict[str, str]:
    """Return the version of each installed library in `LIBRARIES`, and of CUDA if torch has it, by name."""
    versions = {name: version for name in LIBRARIES if (version := _version(name))}
    torch = sys.modules.get("torch")
    if torch is not None and torch.version.cuda:
        versions["cuda"] = torch.version.cuda
    return versions


@cache
def _version(library: str) -> str | None:
    """Return the version of an installed distribution; None if it is not installed."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _threads() -> dict[str, Any]:
    """Return the environment variables that set thread counts, and torch's own counts where it is loaded."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TOKENIZERS_PARALLELISM")
    values: dict[str, Any] = {name: os.environ[name] for name in names if name in os.environ}
    torch = sys.modules.get("torch")
    if torch is not None:
        values |= {"torch": torch.get_num_threads(), "torch_interop": torch.get_num_interop_threads()}
    return values


def machine_state() -> dict[str, Any]:
    """Return the current load average (1, 5, 15 minutes), CPU frequency in MHz, and state of each GPU."""
    import psutil

    state: dict[str, Any] = {"load_average": [round(load, 2) for load in psutil.getloadavg()]}
    frequency = psutil.cpu_freq()
    if frequency is not None:
        state["cpu_mhz"] = round(frequency.current)
    gpus = gpu.state()
    return {**state, "gpu": gpus} if gpus else state
