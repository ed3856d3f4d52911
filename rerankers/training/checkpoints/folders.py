"""Writes a checkpoint's folder completely or not at all."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import torch


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give the block an empty scratch folder, which takes the place of `folder` when the block succeeds.

    If the process is killed meanwhile, `restore_checkpoint` puts the old folder back.
    """
    scratch = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    yield scratch
    _share(scratch)
    if folder.exists():
        shutil.rmtree(_replaced(folder), ignore_errors=True)
        folder.rename(_replaced(folder))
    scratch.rename(folder)
    shutil.rmtree(_replaced(folder), ignore_errors=True)


def restore_checkpoint(folder: Path) -> None:
    """Put the old checkpoint back under `folder` if a killed process had moved it away to replace it."""
    if not folder.exists() and _replaced(folder).is_dir():
        _replaced(folder).rename(folder)


def weights_below(state: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the weights whose names begin with a prefix, by their names without the prefix."""
    return {name.removeprefix(prefix): weight for name, weight in state.items() if name.startswith(prefix)}


def _share(folder: Path) -> None:
    """Give all files of a folder the permissions of any new file; safetensors makes them private."""
    (folder / ".new").touch()
    mode = (folder / ".new").stat().st_mode
    (folder / ".new").unlink()
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def _replaced(folder: Path) -> Path:
    """Return the path to which `folder` is moved while its new content takes its place."""
    return folder.with_name(f".{folder.name}.replaced")
