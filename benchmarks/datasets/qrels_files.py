"""The search for the files of judgements in a folder in the BEIR layout, whatever they are called.

A file of judgements is never passed over in silence: it is read, refused, or one of several to choose from.
"""

from __future__ import annotations

import re
from pathlib import Path

from rerankers.errors import InputError
from rerankers.files.input_files import uncompressed_name

_SUFFIXES = {".tsv", ".txt", ".csv", ".qrels", ".qrel", ".trec", ".jsonl", ".json", ".parquet"}
_NO_JUDGEMENTS = ("readme", "license", ".")
"""Beginnings of names, in lower case, of files in `qrels/` that hold no judgements."""


def find_qrels(folder: Path, split: str | None) -> Path | None:
    """Return the path of a folder's judgements; None if it has none.

    Without a `split`, that is the only file, or else the one named `test`. Judgements lie in `qrels/`, one
    file a split, or beside the collection in files whose names contain `qrel`.

    Raises:
        InputError: there is no such split, or several files could be meant.
    """
    inside, beside = _in_folder(folder / "qrels"), beside_of(folder)
    files = _by_split([*inside, *beside])
    where = folder / "qrels" if inside else folder
    names = ", ".join(files)
    if split is not None and split not in files:
        raise InputError.at(where, None, f"no split {split!r}; found {names or 'none'}")
    if not files:
        _refuse_deeper_folders(folder / "qrels")
        return None
    if split is None and len(files) > 1 and ("test" not in files or (inside and beside)):
        raise InputError.at(where, None, f"several splits; set split to one of {names}")
    chosen = files[split or ("test" if "test" in files else next(iter(files)))]
    if len(chosen) > 1:
        both = " and ".join(str(path.relative_to(folder)) for path in chosen)
        raise InputError.at(folder, None, f"{both} are judgements of one split; remove one of them")
    return chosen[0]


def splits_of(folder: Path) -> list[str]:
    """Return the names of the splits, such as `test`, of which a folder has judgements."""
    return list(_by_split([*_in_folder(folder / "qrels"), *beside_of(folder)]))


def _by_split(paths: list[Path]) -> dict[str, list[Path]]:
    """Group files of judgements by the split that they are named after."""
    files: dict[str, list[Path]] = {}
    for path in paths:
        files.setdefault(split_of(path), []).append(path)
    return files


def beside_of(folder: Path) -> list[Path]:
    """Return the files directly in a folder whose names contain `qrel`, sorted."""
    return sorted(path for path in folder.iterdir() if "qrel" in path.name.lower() and not path.is_dir())


def split_of(path: Path) -> str:
    """Return the split that a file of judgements is named after; `qrels` if its name has none.

    `qrels.dev.tsv.gz` gives `dev`.
    """
    name = Path(uncompressed_name(path))
    stem = name.stem if name.suffix.lower() in _SUFFIXES else name.name
    return re.sub(r"[._-]*qrels?[._-]*", "", stem, flags=re.IGNORECASE) or "qrels"


def _in_folder(folder: Path) -> list[Path]:
    """Return the files in a `qrels` folder, sorted, except readme, license and hidden files.

    Return an empty list if there is no such folder.
    """
    if not folder.is_dir():
        return []
    paths = (path for path in folder.iterdir() if not path.is_dir())
    return sorted(path for path in paths if not path.name.lower().startswith(_NO_JUDGEMENTS))


def _refuse_deeper_folders(folder: Path) -> None:
    """Check that a `qrels` folder has no subfolders, where judgements might lie unread.

    Raises:
        InputError: it has one.
    """
    deeper = [path for path in folder.glob("*/") if not path.name.startswith(".")]
    if deeper:
        reason = f"judgements are looked for here, not in {deeper[0].name}/; move the files up, one a split"
        raise InputError.at(folder, None, reason)
