"""A checkpoint in a cache of the Hugging Face hub, as the hub would leave it there."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from huggingface_hub import constants

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def on_the_hub(folder: Path, hub: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Put a folder into a cache of the hub as the hub would: files in blobs, links in a snapshot."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub))
    repository = hub / "models--me--checkpoint"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    snapshot = repository / "snapshots" / ("0" * 40)
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        (repository / "blobs").mkdir(exist_ok=True)
        shutil.copyfile(path, repository / "blobs" / str(number))
        link.symlink_to(repository / "blobs" / str(number))
    return "me/checkpoint"
