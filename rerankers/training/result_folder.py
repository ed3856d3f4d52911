"""A training's result folder: whose it is, and the state from which a killed training goes on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerankers.errors import InputError
from rerankers.files.writing import replace_file
from rerankers.models.locate import find_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerankers.training.settings import Stage, TrainingSettings

LOG, PLAN = "log.jsonl", "plan.json"
_SETTINGS, _DIGESTS = "settings.json", "digests.json"
# settings that change nothing of a step
_FREE = {"log_every", "save_every", "evaluate_every", "early_stopping", "report_to", "out"}


def claim(folder: Path, stage: Stage, settings: TrainingSettings) -> None:
    """Make the folder this training's own, once its data has been read without an error.

    Raises:
        InputError: it holds another training.
    """
    refuse_another(folder, stage, settings)
    if not (folder / _SETTINGS).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / _SETTINGS, _stated(stage, settings))


def refuse_another(folder: Path, stage: Stage, settings: TrainingSettings) -> None:
    """Refuse a folder that holds another training.

    Raises:
        InputError: it does.
    """
    path = folder / _SETTINGS
    if path.is_file() and path.read_text(encoding="utf-8") != _stated(stage, settings):
        raise InputError(f"{folder} holds a training with other settings or data; choose another --out")


def _stated(stage: Stage, settings: TrainingSettings) -> str:
    """Return the settings in `settings.json` that decide what a training learns."""
    stated = settings.model_dump(exclude=_FREE)
    for name in ("max_seconds", "effective_batch"):
        stated["optimizer"].pop(name)
    for name in ("train", "validation"):
        if stated["data"][name] is not None:
            stated["data"][name] = digest(Path(stated["data"][name]))
    start = stated.get("init_from")
    if start is not None:
        stated["init_from"] = find_model(start).fingerprint or start
    return json.dumps({"stage": stage, **stated}, indent=2, ensure_ascii=False) + "\n"


def digest(path: Path) -> str:
    """Return sha256 of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError.at(path, None, f"cannot be read: {error.strerror}; check the path") from error


def seal_state(state: Path) -> None:
    """Write the digest of each file of a state, as the last file of it."""
    files = sorted(path for path in state.rglob("*") if path.is_file() and path.name != _DIGESTS)
    digests = {path.relative_to(state).as_posix(): digest(path) for path in files}
    replace_file(state / _DIGESTS, json.dumps(digests, indent=1) + "\n")


def last_state(folder: Path, say: Callable[[str], None]) -> str | None:
    """Return the newest state that is whole; None if training has to begin anew.

    A state without digests was being written when the process was killed: it never happened. A state that its
    digests do not match is damaged, which is said.

    Raises:
        InputError: every state is damaged.
    """
    numbered = {int(path.name.rpartition("-")[2]): path for path in folder.glob("checkpoint-*")}
    damaged = []
    for _, state in sorted(numbered.items(), reverse=True):
        if not (state / _DIGESTS).is_file():
            continue
        reason = _damage(state)
        if reason is None:
            return str(state)
        damaged.append(state)
        say(f"{state}: damaged ({reason}). Going on from the state before it")
    if damaged:
        raise InputError(f"{damaged[-1]}: no state before it is whole. Remove {folder} to begin anew")
    return None


def _damage(state: Path) -> str | None:
    """Return the damage of a saved state; None if it is whole."""
    try:
        digests = json.loads((state / _DIGESTS).read_text(encoding="utf-8"))
        changed = [name for name, digest_then in digests.items() if digest(state / name) != digest_then]
    except (InputError, OSError, ValueError, AttributeError) as error:
        return str(error)
    return f"{changed[0]} has changed" if changed else None


def begin_log(path: Path, step: int) -> list[dict[str, Any]]:
    """Drop the lines of a log that a resumed training will write again, and a line that a kill tore.

    Returns:
        The lines that stay.
    """
    kept = [line for line in read_log(path) if line["step"] <= step]
    if path.is_file():
        replace_file(path, "".join(f"{json.dumps(line)}\n" for line in kept))
    return kept


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a log, each with its `step`; none if there is no log."""
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            line = json.loads(text)
            lines += [line] if isinstance(line["step"], int) else []
        except (ValueError, KeyError, TypeError):
            continue
    return lines
