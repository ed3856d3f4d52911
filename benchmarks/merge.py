"""Puts result folders of several machines into one.

Cells are named by what defines them, so that the same name is the same experiment. A cell that is finished in
one folder and not in another comes from where it is finished. One that was measured twice is not merged, for
whose latencies should stand? Such folders are read side by side (`rerankbench report A B`), which tells them
apart.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.candidates import is_whole, read_index
from benchmarks.cell import is_finished
from benchmarks.seal import RAW
from benchmarks.store import read_about, read_results, write_experiment
from rerankers.errors import InputError, StoreError
from rerankers.files import replace_file
from rerankers.folder_lock import FolderLock

if TYPE_CHECKING:
    from collections.abc import Sequence


def merge(folders: Sequence[Path], out: Path) -> list[str]:
    """Copy the cells of several result folders, and their pools, into one; what is there already stays.

    Budgets are not merged: the ledger of what was spent stays with each folder.

    Returns:
        the names of all cells, in the folders' order.

    Raises:
        InputError: a folder has no results, or a cell was measured in two of them; nothing is written then.
        StoreError: a folder is damaged or in use, or the new one cannot be written.
    """
    existing = [out] if (out / "experiment.json").exists() else []
    sources: dict[str, Path] = {}
    for folder in [*existing, *folders]:
        for cell in read_results(folder).cells:
            name = cell.record.cell
            if not (folder / name).is_dir():
                raise StoreError(f"{folder}: a record is of {name!r}, which has no folder; restore it")
            sources[name] = _chosen(sources[name], folder / name) if name in sources else folder / name
    try:
        with FolderLock(out):
            _copy_all(folders, sources, out)
            about = read_about(folders[0])
            name, config = (about.experiment, about.config) if about else ("merged", {})
            write_experiment(out, name, list(sources), config)
    except OSError as error:
        raise StoreError(f"{out}: cannot write ({error.strerror}); make room, then run again") from error
    return list(sources)


def _chosen(one: Path, other: Path) -> Path:
    """Which of two cells of the same name to keep: the finished one, or either if they are the same."""
    is_done = [is_finished(one), is_finished(other)]
    if is_done[0] != is_done[1]:
        return one if is_done[0] else other
    if all(_content(one / name) == _content(other / name) for name in RAW):
        return one
    raise InputError(
        f"{one} and {other} are the same cell, measured twice; delete one of them, or compare them side by "
        f"side: rerankbench report {one.parent} {other.parent}"
    )


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _copy_all(folders: Sequence[Path], sources: dict[str, Path], out: Path) -> None:
    index: dict[str, str] = {}
    for folder in [*folders, out]:
        index |= read_index(folder / "pools")
        for pool in sorted(folder.glob("pools/*/pool.jsonl.gz")):
            target = out / "pools" / pool.parent.name
            has_texts = (target / "texts.jsonl.gz").exists() or not (pool.parent / "texts.jsonl.gz").exists()
            is_needed = not (target.exists() and has_texts and is_whole(target))
            if is_needed and (is_whole(pool.parent) or not target.exists()):
                _copy(pool.parent, target)
    if index:
        replace_file(out / "pools" / "index.json", json.dumps(index, indent=1))
    for name, source in sources.items():
        if source.parent != out:
            _copy(source, out / name)


def _copy(source: Path, target: Path) -> None:
    """Copy a folder so that it appears complete or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        new = Path(scratch) / "new"
        shutil.copytree(source, new)
        if target.exists():
            target.rename(Path(scratch) / "old")
        new.rename(target)
