"""A training's result folder: whose it is, and the state from which a killed training goes on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rerankers.errors import InputError
from rerankers.files import replace_file
from rerankers.models import find_model

if TYPE_CHECKING:
    from rerankers.pe_rank.training.settings import Settings, Stage

_FREE = {"log_every", "save_every", "evaluate_every", "out"}  # settings that change nothing that is learnt


def claim(folder: Path, stage: Stage, settings: Settings) -> None:
    """Make the folder this training's own.

    Raises:
        InputError: it holds another training.
    """
    stated = settings.model_dump(exclude=_FREE)
    stated["optimizer"].pop("max_seconds")
    for name in ("train", "validation"):
        if stated["data"][name] is not None:
            stated["data"][name] = digest(Path(stated["data"][name]))
    if settings.init_from is not None:
        stated["init_from"] = find_model(settings.init_from).fingerprint
    text = json.dumps({"stage": stage, **stated}, indent=2, ensure_ascii=False) + "\n"
    path = folder / "settings.json"
    if path.is_file():
        if path.read_text(encoding="utf-8") == text:
            return
        raise InputError(f"{folder} holds a training with other settings or data; choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(path, text)


def digest(path: Path) -> str:
    """sha256 of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError.at(path, None, f"cannot be read: {error.strerror}; check the path") from error


def last_state(folder: Path) -> str | None:
    """The last state that was written whole; what a kill left half is passed over."""
    states = {int(path.name.rpartition("-")[2]): path for path in folder.glob("checkpoint-*")}
    for _, path in sorted(states.items(), reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))  # written last
        except (OSError, ValueError):
            continue
        return str(path)
    return None
