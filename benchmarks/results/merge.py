"""Merges result folders, such as those of several machines, into one.

Cells are named by what defines them, so that the same name is the same experiment. A cell that is finished in
one folder and not in another comes from where it is finished. Of the first stage and the controls, whose
latency no table shows, one copy is kept if all copies rank the same. A reranker that was measured twice is
merged only if the caller prefers one of the folders, because its latencies differ.
Such folders can be read side by side (`rerankbench report A B`), which tells them apart.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.candidates.pool_folder import is_whole, read_index
from benchmarks.results.cell_record import is_finished, readable_record
from benchmarks.results.judgements import FOLDER, grades_of, judges, write_about, write_grades
from benchmarks.results.seal import RANKING, RAW
from benchmarks.results.store import read_about, read_results, write_experiment
from rerankers.errors import InputError, StoreError
from rerankers.files.folder_lock import FolderLock
from rerankers.files.writing import replace_file
from rerankers.registry import role_of

if TYPE_CHECKING:
    from collections.abc import Sequence


def merge(folders: Sequence[Path], out: Path, prefer: Path | None = None) -> list[str]:
    """Copy the cells of several result folders, and their candidate sets, into one.

    Budgets are not merged: the ledger of what was spent stays with each folder.

    Args:
        folders: result folders.
        out: the folder to write. Its own cells take part, and stay unless `prefer` names another folder.
        prefer: the folder, among these, whose copy is kept of a cell that was measured in several.

    Returns:
        the names of all cells, in the folders' order.

    Raises:
        InputError: a folder has no results, a cell was measured in two of them and neither is preferred, or
            `prefer` is not one of them; nothing is written then.
        StoreError: a folder is damaged or in use, or the new one cannot be written.
    """
    existing = [out] if (out / "experiment.json").exists() else []
    _check_preferred(prefer, [*existing, *folders])
    copies: dict[str, list[Path]] = {}
    for folder in [*existing, *folders]:
        for cell in read_results(folder).cells:
            name = cell.record.cell
            if not (folder / name).is_dir():
                raise StoreError(f"{folder}: a record is of {name!r}, which has no folder; restore it")
            copies.setdefault(name, []).append(folder / name)
    sources = {name: _chosen(cells, prefer) for name, cells in copies.items()}
    try:
        with FolderLock(out):
            _copy_all(folders, sources, out)
            _copy_judgements(folders, out)
            about = read_about(folders[0])
            name, config = (about.experiment, about.config) if about else ("merged", {})
            write_experiment(out, name, list(sources), config)
    except OSError as error:
        raise StoreError(f"{out}: cannot write ({error.strerror}); make room, then run again") from error
    return list(sources)


def _check_preferred(prefer: Path | None, folders: Sequence[Path]) -> None:
    """Raise InputError if the preferred folder is not among the folders to merge."""
    if prefer is not None and not any(_is_same(prefer, folder) for folder in folders):
        names = ", ".join(map(str, folders))
        raise InputError(f"--prefer {prefer}: not one of the folders to merge. Name one of them: {names}.")


def _is_same(cell: Path, other: Path) -> bool:
    """Return whether two paths lead to the same folder."""
    return cell.resolve() == other.resolve()


def _chosen(copies: Sequence[Path], prefer: Path | None) -> Path:
    """Return the copy of a cell to keep; raise InputError if two finished copies differ.

    Finished copies go before others, then the one in the preferred folder, then the first. Copies of a first
    stage or control may differ in anything but the ranking.
    """
    finished = [copy for copy in copies if is_finished(copy)] or list(copies)
    for copy in finished:
        if prefer is not None and _is_same(copy.parent, prefer):
            return copy
    first, *others = finished
    for other in others:
        if not _are_equal(first, other, RAW) and not _are_equal_untimed(first, other):
            raise InputError(
                f"{first} and {other} are the same cell, measured twice. Keep one with --prefer "
                f"{first.parent} or --prefer {other.parent}, or compare them side by side: "
                f"rerankbench report {first.parent} {other.parent}"
            )
    return first


def _are_equal(cell: Path, other: Path, names: Sequence[str]) -> bool:
    """Return whether the named files have the same content in two cells."""
    return all(_content(cell / name) == _content(other / name) for name in names)


def _are_equal_untimed(first: Path, other: Path) -> bool:
    """Return whether two finished cells of a first stage or control rank the same candidate set alike."""
    records = [readable_record(cell) for cell in (first, other) if is_finished(cell)]
    systems = [(record.pool, record.system.reranker) for record in records if record is not None]
    if len(systems) < 2 or systems[0] != systems[1] or role_of(systems[0][1]) == "system":
        return False
    return _are_equal(first, other, [RANKING])


def _content(path: Path) -> bytes:
    """Return a file's bytes; empty if it is missing."""
    return path.read_bytes() if path.exists() else b""


def _copy_all(folders: Sequence[Path], sources: dict[str, Path], out: Path) -> None:
    """Copy candidate sets, their index and the chosen cells into the output folder; whole ones are kept."""
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
    for name, chosen in sources.items():
        if chosen.parent != out:
            _copy(chosen, out / name)


def _copy_judgements(folders: Sequence[Path], out: Path) -> None:
    """Copy the judges' grades into the output folder.

    For a set graded in several folders, those of the first.
    """
    for folder in folders:
        for name, about in judges(folder).items():
            kept = judges(out).get(name)
            if kept is None:
                _copy(folder / FOLDER / name, out / FOLDER / name)
                continue
            lacking = {pool: judged for pool, judged in about.sets.items() if pool not in kept.sets}
            for pool in lacking:
                write_grades(out, name, pool, grades_of(folder, name, about, pool))
            write_about(out, name, kept.model_copy(update={"sets": {**kept.sets, **lacking}}))


def _copy(source: Path, target: Path) -> None:
    """Copy a folder so that the target appears complete or not at all, replacing an existing one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        new = Path(scratch) / "new"
        shutil.copytree(source, new)
        if target.exists():
            target.rename(Path(scratch) / "old")
        new.rename(target)
