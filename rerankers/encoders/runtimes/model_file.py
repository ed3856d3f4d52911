"""The checks that files of ONNX and OpenVINO pass before a runtime reads them.

The file and all files that it refers to lie inside the model, so that its fingerprint covers them. Runtimes
run no code from files: operators come from the runtime itself, and no library of operators is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from rerankers.errors import ModelError
from rerankers.files.fingerprints import file_digest
from rerankers.files.input_files import open_once
from rerankers.models.folder import folder_inside
from rerankers.models.model_files import find_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rerankers.models.locate import ModelFiles

_LARGEST = {".onnx": 2**31 - 1, ".xml": 2**28}  # bytes; protobuf's own limit, and text without weights


@dataclass(frozen=True, slots=True)
class RuntimeFile:
    """A checked file of a runtime.

    Attributes:
        path: the file.
        name: its name in the record: its path inside the model, or `export`.
        digest: `sha256:...` of its content, weights beside it included.
    """

    path: Path
    name: str
    digest: str


def find_runtime_file(files: ModelFiles, name: str) -> RuntimeFile | None:
    """Return one of a model's `.onnx` or `.xml` files, checked; None where the model has no such file.

    Args:
        files: the location of the model; on the hub, the file and its weights are fetched.
        name: path inside the model, with `/`.

    Raises:
        ModelError: it lies outside the model, is too large, is of another kind, or refers to a file that is
            missing or lies elsewhere.
    """
    path = _inside(files, name)
    if path is None:
        return None
    parts = [path]
    for part in _external_files(path, name) if path.suffix == ".onnx" else [f"{path.stem}.bin"]:
        if PurePosixPath(part).name != part or "\\" in part:
            raise ModelError(f"{path}: names {part!r}, which is not beside it. Do not trust this model.")
        beside = _inside(files, str(PurePosixPath(name).with_name(part)))
        if beside is None:
            raise ModelError(f"{path}: its weights {part!r} are not beside it. Download the model again.")
        parts.append(beside)
    return RuntimeFile(path, name, f"sha256:{'+'.join(file_digest(part) for part in parts)}")


def _inside(files: ModelFiles, name: str) -> Path | None:
    """Return the path of one of a model's files, checked; None where the model has no such file.

    Raises:
        ModelError: it lies outside the model, is too large, is empty, or is not a plain file.
    """
    if files.is_local:
        folder_inside(files.location, name)
    path = find_file(files, name)
    if path is None:
        return None
    limit = _LARGEST.get(path.suffix)
    size = path.stat().st_size
    if limit is not None and size > limit:
        raise ModelError(f"{path} has {size} bytes; allowed are {limit}. Do not trust this file.")
    with open_once(path) as file:  # refuses other kinds, such as a Git LFS pointer
        if not file.read(1):
            raise ModelError(f"{path} is empty. Download the model again.")
    return path


def _external_files(path: Path, name: str) -> list[str]:
    """Return the weight files that an ONNX file refers to, as paths relative to it.

    Args:
        path: the file.
        name: its name, for errors.

    Raises:
        ModelError: the file cannot be read as ONNX.
    """
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf raises several kinds for one cause: a damaged file
        raise ModelError(f"{path}: no ONNX model can be read from it. Download {name!r} again.") from error
    locations = {
        entry.value
        for tensor in _tensors(model.graph)
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return sorted(locations)


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield all tensors of an ONNX graph, those of constants and of nested graphs included."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)
