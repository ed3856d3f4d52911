"""A training's result folder: the training it belongs to, its log, and the states from which it can go on."""

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
    """Write the training's settings into the folder, unless they are there: the folder then belongs to it.

    Call it once the data has been read without an error.

    Raises:
        InputError: the folder holds another training.
    """
    refuse_another(folder, stage, settings)
    if not (folder / _SETTINGS).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / _SETTINGS, _settings_text(stage, settings))


def refuse_another(folder: Path, stage: Stage, settings: TrainingSettings) -> None:
    """Raise an error if the folder holds a training with other settings or data.

    Raises:
        InputError: it does.
    """
    path = folder / _SETTINGS
    if path.is_file() and path.read_text(encoding="utf-8") != _settings_text(stage, settings):
        raise InputError(f"{folder} holds a training with other settings or data; choose another --out")


def _settings_text(stage: Stage, settings: TrainingSettings) -> str:
    """Return the content of `settings.json`: the stage and all settings that decide what is learnt, as JSON.

    Data files are named by their digests.
    """
    deciding = settings.model_dump(exclude=_FREE)
    for name in ("max_seconds", "effective_batch"):
        deciding["optimizer"].pop(name)
    for name in ("train", "validation"):
        if deciding["data"][name] is not None:
            deciding["data"][name] = digest(Path(deciding["data"][name]))
    start = deciding.get("init_from")
    if start is not None:
        deciding["init_from"] = find_model(start).fingerprint or start
    return json.dumps({"stage": stage, **deciding}, indent=2, ensure_ascii=False) + "\n"


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError.at(path, None, f"cannot be read: {error.strerror}; check the path") from error


def seal_state(state: Path) -> None:
    """Write `digests.json` into a saved state: the SHA-256 of each of its files, by which damage is found."""
    files = sorted(path for path in state.rglob("*") if path.is_file() and path.name != _DIGESTS)
    digests = {path.relative_to(state).as_posix(): digest(path) for path in files}
    replace_file(state / _DIGESTS, json.dumps(digests, indent=1) + "\n")


def last_state(folder: Path, say: Callable[[str], None]) -> str | None:
    """Return the path of the newest undamaged state in `folder`; None if training has to begin anew.

    A state without digests was being written when the process was killed, and is passed over. A damaged
    state, whose files do not match the digests, is reported by `say`.

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
    """Return what is wrong with a saved state by its digests; None if it is whole."""
    try:
        digests = json.loads((state / _DIGESTS).read_text(encoding="utf-8"))
        changed = [name for name, digest_then in digests.items() if digest(state / name) != digest_then]
    except (InputError, OSError, ValueError, AttributeError) as error:
        return str(error)
    return f"{changed[0]} has changed" if changed else None


def begin_log(path: Path, step: int) -> list[dict[str, Any]]:
    """Remove from a log the lines behind `step`, which a resumed training writes again, and any torn line.

    Returns:
        The lines that stay.
    """
    remaining = [line for line in read_log(path) if line["step"] <= step]
    if path.is_file():
        replace_file(path, "".join(f"{json.dumps(line)}\n" for line in remaining))
    return remaining


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a log that are whole, each a mapping with its `step`; none if there is no log."""
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            line = json.loads(text)
            lines += [line] if isinstance(line["step"], int) else []
        except (ValueError, KeyError, TypeError):
            continue
    return lines
