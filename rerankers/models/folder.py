"""Checks of a model's folder before anything in it is loaded.

Every file that is loaded lies in the folder, so that the fingerprint covers it, and no number in
`config.json` makes a library allocate more than the weights there can fill.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from rerankers.errors import ModelError
from rerankers.files.model_json import unique_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rerankers.models.model_files import ModelFiles

_LONGEST_HEADER = 100_000_000  # bytes; safetensors itself refuses longer ones
_UNCHECKED = 1_000  # sizes up to this are harmless, and may belong to a part without weights
_SLACK = 16  # packed weights hold up to eight numbers in one, and a head may be made anew
_FREE_BYTES = 64 << 20  # that any archive may unpack to
_ARCHIVES = (".bin", ".pt", ".pth")
_NO_LIMIT = 2**31  # no model has as many rows of anything
_MOST_POSITIONS = 2**20  # rows of a table of positions

# Keys of `config.json` by which libraries allocate: dimensions of weights, counts of modules that have
# weights each, and rows of a table of positions, which not all models have.
_DIMENSIONS = (
    "vocab_size", "hidden_size", "intermediate_size", "d_model", "d_ff", "d_kv", "dim", "hidden_dim",
    "n_embd", "n_inner", "head_dim", "num_labels", "type_vocab_size", "embedding_size",
    "moe_intermediate_size", "in_features", "out_features", "dimension",
)  # fmt: skip
_COUNTS = (
    "num_hidden_layers", "num_layers", "num_decoder_layers", "n_layer", "n_layers", "num_attention_heads",
    "num_key_value_heads", "num_heads", "n_head", "n_heads", "num_experts", "num_local_experts",
    "n_routed_experts",
)  # fmt: skip
_POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx")
_POSITION_TABLE = re.compile(r"position_embeddings|embed_positions|\bwpe\b")
_WIDTHS = ("embedding_size", "hidden_size", "d_model", "n_embd", "dim")
_LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")


@dataclass(frozen=True, slots=True)
class _Weights:
    """Facts about the weights of a folder, read without loading them.

    Attributes:
        dimension: the largest dimension of any weight.
        count: the number of weights.
        numbers: the number of values in all weights together.
        has_positions: whether one is a table of positions.
    """

    dimension: int
    count: int
    numbers: int
    has_positions: bool

    def limit(self, key: str) -> int:
        """Return the largest value that a size in `config.json` may have, by the size's key."""
        if key in _DIMENSIONS:
            return max(self.dimension, _UNCHECKED)
        if key in _POSITIONS and self.has_positions:
            return max(self.dimension, _MOST_POSITIONS)
        return max(self.count, _UNCHECKED) if key in _COUNTS else _NO_LIMIT


_LARGEST_MODEL = _Weights(dimension=2**22, count=10_000, numbers=2**38, has_positions=False)
"""The largest size of a model whose weights are not here; `_SLACK` comes on top."""


def check_folder(folder: Path, name: str) -> None:
    """Refuse a model's folder that refers to files elsewhere or asks for more memory than its weights need.

    Args:
        folder: the model's files.
        name: the model's name, for errors.

    Raises:
        ModelError: a link or an index names a file elsewhere, a settings file has a key twice, an archive
            unpacks to too much, or a size in `config.json` cannot be right.
    """
    _check_links(folder, name)
    for settings in (*sorted(folder.rglob("*config*.json")), folder / "modules.json"):
        _read(settings)  # for keys that stand twice
    for index in sorted(folder.rglob("*.index.json")):
        _check_index(index)
    for path in sorted(folder.rglob("*")):
        if path.suffix in _ARCHIVES:
            check_archive(path)
    is_adapter = (folder / "adapter_config.json").is_file()  # its config.json is that of the base model
    weights = _LARGEST_MODEL if is_adapter else _weights_below(folder)
    for path in sorted(folder.rglob("config.json")):
        for where, part in _parts(_read(path), ()):
            _check_sizes(part, weights, f"{name!r}: {path.relative_to(folder)}: {''.join(where)}")


def check_hub_model(files: ModelFiles) -> None:
    """Refuse a hub model by its index and `config.json`, before its weights are fetched.

    Local models are not checked here but when they are found.

    Raises:
        ModelError: an index names a file elsewhere, or a size in `config.json` cannot be right.
    """
    from rerankers.models.model_files import find_file

    if files.is_local:
        return
    config = find_file(files, "config.json")
    for where, part in _parts(_read(config), ()) if config else ():
        _check_sizes(part, _LARGEST_MODEL, f"{files.name!r}: config.json: {''.join(where)}")
    for name in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        index = find_file(files, name)
        if index is not None:
            _check_index(index)


def folder_inside(folder: str, name: str) -> Path:
    """Return the path of a subfolder that a model's files name.

    Args:
        folder: the model's folder.
        name: the relative path.

    Raises:
        ModelError: the path leads outside the model's folder.
    """
    path = Path(folder) / name
    if not path.resolve().is_relative_to(Path(folder).resolve()):
        raise ModelError(f"{folder}: its files name {name!r}, outside the folder. Do not trust this model.")
    return path


def _check_sizes(part: Mapping[str, Any], weights: _Weights, label: str) -> None:
    """Refuse a configuration whose sizes are negative or more than the weights allow.

    Args:
        part: the content of `config.json`, or a configuration inside it.
        weights: facts about the model's weights.
        label: the place of the part, for errors.

    Raises:
        ModelError: a size is such.
    """
    sizes = {
        key: value
        for key, value in part.items()
        if isinstance(value, int) and not isinstance(value, bool)
        if key in _DIMENSIONS or key in _POSITIONS or key.startswith(("num_", "n_"))
    }
    for key, value in sizes.items():
        if value < 0:
            raise ModelError(f"{label}{key} is {value}, below zero. Download the model again.")
        if value > weights.limit(key):
            raise ModelError(
                f"{label}{key} is {value}, but the weights allow {weights.limit(key)} at most. "
                "Do not trust this model."
            )
    width = next((sizes[key] for key in _WIDTHS if key in sizes), 0)
    layers = next((sizes[key] for key in _LAYERS if key in sizes), 0)
    numbers = (sizes.get("vocab_size", 0) + layers * width) * width
    if numbers > max(_SLACK * weights.numbers, _UNCHECKED**2):
        raise ModelError(
            f"{label}these sizes make {numbers} numbers, but the weights have {weights.numbers}. "
            "Do not trust this model."
        )


def _check_links(folder: Path, name: str) -> None:
    """Refuse a folder with a link to a file elsewhere.

    The hub's cache may link its snapshots to blobs of the same model.

    Raises:
        ModelError: there is such a link.
    """
    root = folder.resolve()
    homes = [root]
    for snapshot in (root, root.parent):  # a folder of a snapshot is a model, too
        if snapshot.parent.name == "snapshots" and snapshot.parents[1].name.startswith("models--"):
            homes.append(snapshot.parents[1] / "blobs")
    for path in folder.rglob("*"):
        if not path.is_symlink():
            continue
        target = path.resolve()
        if not any(target.is_relative_to(home) for home in homes):
            raise ModelError(
                f"{name!r}: {path.relative_to(folder)} is a link to {target}, outside the folder. "
                "Copy the file into the folder."
            )


def check_archive(path: Path) -> None:
    """Refuse a weight file of torch that unpacks to much more than its own size.

    torch itself writes tensors uncompressed, but reads compressed ones too.

    Raises:
        ModelError: the file is such.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (OSError, zipfile.BadZipFile, NotImplementedError):
        return  # of the older format, which is not compressed; or damaged, which its loader says
    packed = path.stat().st_size
    if unpacked > 2 * packed + _FREE_BYTES:
        raise ModelError(f"{path} of {packed} bytes unpacks to {unpacked} bytes. Do not trust this model.")


def _check_index(index: Path) -> None:
    """Refuse an index of weights that names a file in another folder.

    Raises:
        ModelError: it does.
    """
    content = _read(index)
    names = content.get("weight_map")
    for shard in names.values() if isinstance(names, dict) else ():
        if not isinstance(shard, str) or PurePosixPath(shard).name != shard or "\\" in shard:
            raise ModelError(f"{index}: names {shard!r}, which is not beside it. Do not trust this model.")


def _parts(config: Any, where: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield a configuration and all configurations nested in it, up to five deep.

    Args:
        config: the content of a JSON file.
        where: the keys that lead to it, each with a dot behind it; yielded with each configuration.
    """
    if isinstance(config, dict) and len(where) < 5:
        yield where, config
        for key, value in config.items():
            yield from _parts(value, (*where, f"{key}."))


def _weights_below(folder: Path) -> _Weights:
    """Return the largest dimension and the numbers of weights and values below a folder, by file headers.

    A file without a header (.bin, .gguf) has its bytes as dimension and values, and leaves the number of
    weights unlimited. Without weight files nothing is limited.
    """
    shapes: dict[str, list[int]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".safetensors":
            for name, value in _header(path).items():
                shape = value.get("shape") if isinstance(value, dict) else None
                if isinstance(shape, list) and all(isinstance(size, int) for size in shape):
                    shapes[f"{path}:{name}"] = shape
        elif path.suffix in (*_ARCHIVES, ".gguf") and path.is_file():
            shapes[str(path)] = [path.stat().st_size]
    if not shapes:
        return _Weights(_NO_LIMIT, _NO_LIMIT, _NO_LIMIT**2, has_positions=False)
    are_named = all(".safetensors:" in name for name in shapes)
    return _Weights(
        dimension=max(max(shape, default=1) for shape in shapes.values()),
        count=len(shapes) if are_named else _NO_LIMIT,
        numbers=sum(math.prod(shape) for shape in shapes.values()),
        has_positions=any(_POSITION_TABLE.search(name) for name in shapes),
    )


def _header(path: Path) -> dict[str, Any]:
    """Return the header of a safetensors file, entries by weight name; empty if it is damaged.

    The loader reports the damage.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            value = json.loads(file.read(length)) if length <= _LONGEST_HEADER else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _read(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; empty if there is none, which the loader reports.

    Raises:
        ModelError: a key occurs twice.
    """
    try:
        value = json.loads(path.read_bytes(), object_pairs_hook=unique_keys(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
