"""Sets of attention heads for ICR: published sets by name, or a list of the user's own.

A head is written `layer-head`, both counted from 0, as QRHead does (arXiv 2506.09944). Published sets are
data: `attention_heads.toml`.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from rerankers.errors import InputError, UnknownNameError
from rerankers.files.input_files import open_once
from rerankers.files.paths import existing_path

if TYPE_CHECKING:
    from rerankers.llm.attention_rows import Heads

ALL = "all"
_HEAD = re.compile(r"(\d{1,4})-(\d{1,4})")
_LONGEST_FILE = 1_000_000  # bytes
_KEY = "attn_head_set:"  # in the published code's configurations


class _HeadSet(BaseModel):
    """A published set of heads: the model it was found for, and the list of its heads."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model: str
    heads: str


def find_heads(heads: str) -> Heads | None:
    """Return the head numbers of a set by layer; None for `all`.

    Args:
        heads: `all`, the name of a published set, a list such as `13-18 13-21` (spaces or commas), or a file
            with such a list, which may be a configuration of the published code.

    Raises:
        InputError: it is none of these, or a head is listed twice.
    """
    if heads == ALL:
        return None
    if _is_list(heads):
        return _parsed(heads, "heads")
    path = existing_path(heads)
    if path is not None and not path.is_dir():
        with open_once(path) as file:
            text = file.read(_LONGEST_FILE).decode(errors="replace")
        return _parsed(_without_keys(text), str(path))
    published = _published()
    if heads not in published:
        if "/" in heads:
            raise InputError(f"heads: no file {heads!r}. Correct the path.")
        raise UnknownNameError("set of heads", heads, [ALL, *published])
    return _parsed(published[heads].heads, heads)


def _published() -> dict[str, _HeadSet]:
    """Return the published sets of heads by name, from `attention_heads.toml`."""
    text = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    return {name: _HeadSet.model_validate(row) for name, row in tomllib.loads(text).items()}


def _pieces(text: str) -> list[str]:
    """Split a text at white space and commas, empty pieces left out."""
    return [piece for piece in re.split(r"[\s,]+", text) if piece]


def _is_list(text: str) -> bool:
    """Return whether a text is a list of heads such as `13-18 13-21`."""
    pieces = _pieces(text)
    return bool(pieces) and all(re.fullmatch(r"\d+-\d+", piece) for piece in pieces)


def _without_keys(text: str) -> str:
    """Return the list of heads in the text of a file, its comments removed.

    In a configuration of the published code it is the value of one key.
    """
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    named = [line.removeprefix(_KEY).strip().strip("\"'") for line in lines if line.startswith(_KEY)]
    return named[0] if named else "\n".join(lines)


def _parsed(text: str, where: str) -> Heads:
    """Return the head numbers by layer that a list such as `13-18 13-21` names.

    Args:
        text: the list.
        where: what errors name as its place.

    Raises:
        InputError: an entry is not a head or is listed twice, or there are none.
    """
    heads: Heads = {}
    for piece in _pieces(text):
        match = _HEAD.fullmatch(piece)
        if match is None:
            raise InputError(f"{where}: {piece!r} is not a head. Write layer-head, such as 13-18.")
        layer, head = int(match[1]), int(match[2])
        if head in heads.setdefault(layer, []):
            raise InputError(f"{where}: the head {piece} is listed twice. Remove one of the two.")
        heads[layer].append(head)
    if not heads:
        raise InputError(f"{where}: no heads in it. Write them as layer-head, such as 13-18.")
    return heads
