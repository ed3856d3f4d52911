"""Copies local files and modules that an experiment needs to the nodes of a Ray cluster.

Ray's `runtime_env` carries one folder to every node. Into it go the modules of rerankers that are the user's
own, and the local files and folders that options name below the working folder, up to `MOST_BYTES`. What is
larger, or lies elsewhere, has to be on every node under the same path. A node that has the working folder
itself, with the same files, works there, as a local run does.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.experiments.inputs import Inputs
from rerankers.errors import InputError
from rerankers.files.fingerprints import file_digest
from rerankers.files.paths import existing_path
from rerankers.registry import METHODS, load, source_of, validated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.experiments.plan import CellPlan
    from rerankers.options import MethodOptions

MOST_BYTES = 100_000_000
PACKAGES = ("rerankers", "benchmarks", "reports")
_IGNORED = shutil.ignore_patterns("__pycache__", ".git", ".gitignore", ".rayignore")


class Luggage(NamedTuple):
    """The files and modules that cells need from the driver's machine.

    Attributes:
        working_folder: the driver's working folder, which relative paths start from.
        files: sha256 of each data file that is sent, by its path.
        expected: local paths that are not sent and must exist on every node.
    """

    working_folder: str
    files: dict[str, str]
    expected: tuple[str, ...]


def pack(cells: Sequence[CellPlan], folder: Path) -> Luggage:
    """Copy the local files and modules that cells need into a folder; return the list of what was copied.

    Files that are too large or outside the working folder are only listed, as expected on every node.

    Args:
        cells: the cells to measure.
        folder: an empty folder, which Ray sends to the nodes.
    """
    here = Path.cwd()
    files: dict[str, str] = {}
    expected: list[str] = []
    left = MOST_BYTES
    for module in sorted(_own_modules(cells)):
        if (size := _size(module)) <= left:
            left -= size
            _copy(module, folder / module.name)
    for name in sorted(_local_paths(cells)):
        path = Path(name)
        if path.is_absolute() or {"..", "~"} & {*path.parts} or (size := _size(path)) > left:
            expected.append(name)
            continue
        left -= size
        _copy(path, folder / path)
        files |= {str(file.relative_to(folder)): file_digest(file) for file in _files(folder / path)}
    return Luggage(str(here), files, tuple(expected))


def unpack(luggage: Luggage, cells: Sequence[CellPlan], node: str) -> None:
    """Change to the folder that holds the cells' files on this node, and check that all are there.

    Args:
        luggage: the result of `pack`.
        cells: the cells to measure.
        node: this node's name, for errors.

    Raises:
        InputError: a file or a module is missing on this node, or a file differs.
    """
    home = Path(luggage.working_folder)
    different = [name for name, digest in luggage.files.items() if not _is_same(home / name, digest)]
    relative = [name for name in luggage.expected if not Path(name).expanduser().is_absolute()]
    if home.is_dir() and not different:
        os.chdir(home)
    elif home.is_dir() and relative and all((home / name).exists() for name in relative):
        raise InputError(
            f"node {node}: {home / different[0]}: is missing, or differs from the driver's. Copy {home} anew"
        )
    for name in luggage.expected:
        if existing_path(name) is None:
            raise InputError(f"node {node}: {home / name}: is missing. Copy it to this node, under this path")
    try:
        for name in sorted(_own_names(cells)):
            load(name)
    except InputError as error:
        raise InputError(f"node {node}, folder {Path.cwd()}: {error}") from error


def _local_paths(cells: Sequence[CellPlan]) -> set[str]:
    """Return the names of local files and folders that cells' options and models refer to."""
    inputs = Inputs()
    for cell in cells:
        options = validated(cell.reranker, cell.options)
        models = {model for model, _ in options.models}
        inputs.by_content(options.decisive(cell.options), models)
        inputs.of_models(models, cell.options)
    return set(inputs.digests)


def _own_modules(cells: Sequence[CellPlan]) -> set[Path]:
    """Return files and package folders of the user's own rerankers and of modules imported beside them."""
    modules: set[Path] = set()
    for name in _own_names(cells):
        top = _top_level(name, source_of(name))
        if top is None:
            continue
        modules.add(top)
        for module in list(sys.modules.values()):  # `load` has imported it when the experiment was read
            file = getattr(module, "__file__", None)
            if file and Path(file).is_relative_to(top.parent):
                beside = _top_level(module.__name__, Path(file))
                if beside is not None and beside.parent == top.parent:
                    modules.add(beside)
    return modules


def _own_names(cells: Sequence[CellPlan]) -> set[str]:
    """Return the names of cells' rerankers, components included, that are not built in."""
    names: set[str] = set()
    for cell in cells:
        names |= {cell.reranker, *_components(validated(cell.reranker, cell.options))}
    return names - set(METHODS)


def _components(options: MethodOptions) -> Iterator[str]:
    """Yield the reranker names of a method's components, recursively."""
    for component in options.components:
        yield component.name
        yield from _components(component.validated)


def _top_level(module: str, file: Path) -> Path | None:
    """Return the file or package folder of a module's top-level name; None if it is installed or built in."""
    names = module.partition(":")[0].split(".")
    file = file.resolve()
    if names[0] in (*PACKAGES, "__main__") or any(file.is_relative_to(path) for path in _installed()):
        return None
    is_package = file.name == "__init__.py"
    depth = len(names) - (not is_package)  # folders between the first name and the file
    top = file.parents[depth - 1] if depth else file
    return top if top.stem == names[0] else None


@cache
def _installed() -> frozenset[Path]:
    """Return the folders of this Python where packages are installed."""
    return frozenset(Path(path).resolve() for path in sysconfig.get_paths().values())


def _files(path: Path) -> list[Path]:
    """Return the path itself if it is a file, else all files below it, sorted."""
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def _size(path: Path) -> int:
    """Return the bytes of a file or folder, without `__pycache__`."""
    return sum(file.stat().st_size for file in _files(path) if "__pycache__" not in file.parts)


def _copy(source: Path, target: Path) -> None:
    """Copy a file, or a folder without caches and Git data, to `target`, creating parent folders."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=_IGNORED, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)


def _is_same(path: Path, digest: str) -> bool:
    """Return whether a file exists and has this sha256."""
    try:
        return file_digest(path) == digest
    except OSError:
        return False
