"""This project's own checkpoint format: only what training changed, a few megabytes.

    pe_rank.json                which language model, encoder, projector and wording belong together
    projector.safetensors       `0.weight`, `0.bias`, `2.weight`, ...; see `rerankers.pe_rank.projector`
    adapter_config.json         optional: a LoRA adapter in PEFT's format
    adapter_model.safetensors
    llm/                        optional: a language model trained as a whole, `./llm` in the manifest

`pe_rank.json` is validated strictly by `Manifest`. Weights may be float16; they are computed with in the
language model's dtype.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import save_file

from rerankers.encoders.recipe import read_json
from rerankers.encoders.weights import find_file, read_weights
from rerankers.errors import ModelError
from rerankers.files.paths import existing_path
from rerankers.files.writing import replace_file
from rerankers.llm.adapter import ADAPTER_CONFIG, merge_adapter
from rerankers.llm.causal import CausalLM
from rerankers.models.folder import folder_inside
from rerankers.models.locate import find_model
from rerankers.models.remote_code import loading
from rerankers.pe_rank.formats.parts import EncoderIdentity, Parts
from rerankers.pe_rank.projector import input_dimension, load_projector
from rerankers.pe_rank.prompt import PromptTemplate

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from rerankers.models.devices import AttentionName, DtypeName
    from rerankers.models.locate import ModelFiles

MANIFEST = "pe_rank.json"
_PROJECTOR = "projector.safetensors"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LLMEntry(_Strict):
    """The base language model: name, hub revision, and the fingerprint of local files or a wheel."""

    model: str
    revision: str | None = None
    fingerprint: str | None = None


class EncoderEntry(_Strict):
    """The encoder the projector was trained with, and how it was used."""

    model: str
    revision: str | None = None
    fingerprint: str | None = None
    pooling: Literal["auto", "mean", "cls", "last_token"]  # auto: as the encoder's own files say
    dimension: int
    passage_prefix: str = ""
    max_length: int = 512


class PromptEntry(_Strict):
    """The wording; see `rerankers.pe_rank.prompt.PromptTemplate`."""

    prefix: str
    passage: str
    passage_with_text: str
    suffix: str
    chat: bool


class Manifest(_Strict):
    """`pe_rank.json`.

    Attributes:
        version: of this format.
        llm: base language model.
        encoder: the projector's encoder.
        projector: kind of projector, such as `mlp2x_gelu`.
        prompt: the wording it was trained with.
        training: how it came about: data, recipe, scores; for people.
    """

    version: Literal[1] = 1
    llm: LLMEntry
    encoder: EncoderEntry
    projector: str
    prompt: PromptEntry = PromptEntry(**asdict(PromptTemplate()))
    training: dict[str, Any] = {}


def read_compact(files: ModelFiles, *, dtype: DtypeName, device: str, attention: AttentionName) -> Parts:
    """Take a compact checkpoint apart, loading the base model it names.

    Raises:
        ModelError: the manifest does not validate, a file is missing, or the base model is another one.
    """
    manifest = read_manifest(files)
    llm = _base_model(files, manifest)
    base_files = find_model(llm, manifest.llm.revision)
    if manifest.llm.fingerprint and not base_files.have_content(manifest.llm.fingerprint):
        raise ModelError(
            f"{files.name!r} was trained on another {manifest.llm.model!r}: its files have changed since"
        )
    path = find_file(files, _PROJECTOR)
    if path is None:
        raise ModelError(f"{files.name!r} has {MANIFEST} but no {_PROJECTOR}")
    projector = load_projector(manifest.projector, read_weights(path), files.name)
    dimension = input_dimension(projector)
    if dimension not in (None, manifest.encoder.dimension):
        raise ModelError(
            f"{files.name!r}: encoder.dimension is {manifest.encoder.dimension} in {MANIFEST}, but the "
            f"projector takes {dimension}. Take both from one checkpoint."
        )
    base = CausalLM(
        llm,
        revision=manifest.llm.revision,
        dtype=dtype,
        device=device,
        attention=attention,
    )
    if read_json(files, ADAPTER_CONFIG):
        merge_adapter(base.model, files)
    entry = manifest.encoder
    return Parts(
        llm=base.model,
        tokenizer=base.tokenizer,
        projector=projector,
        encoder=EncoderIdentity(
            model=entry.model,
            pooling=entry.pooling,
            revision=entry.revision,
            fingerprint=entry.fingerprint,
            passage_prefix=entry.passage_prefix,
            max_length=entry.max_length,
        ),
        template=PromptTemplate(**manifest.prompt.model_dump()),
        described={
            "model": files.name,
            "revision": files.revision or files.fingerprint,
            "format": "compact",
            "base": base.describe(),
            "training": manifest.training,
        },
    )


def referenced_models(name: str) -> dict[str, str | None]:
    """Return the models that a local checkpoint refers to, with their hub revisions; none for other models.

    Raises:
        ModelError: `pe_rank.json` is damaged.
    """
    if not (name.startswith("bundled:") or existing_path(name)):
        return {}
    files = find_model(name)
    if not read_json(files, MANIFEST):
        return {}
    manifest = read_manifest(files)
    return {
        _base_model(files, manifest): manifest.llm.revision,
        manifest.encoder.model: manifest.encoder.revision,
    }


def _base_model(files: ModelFiles, manifest: Manifest) -> str:
    """Return the language model's name; `./llm` was trained as a whole and lies beside the manifest."""
    name = manifest.llm.model
    if not name.startswith("./"):
        return name
    location = files.location if files.is_local else _fetched(files, name.removeprefix("./"))
    return str(folder_inside(location, name))


def _fetched(files: ModelFiles, part: str) -> str:
    """Return the hub's snapshot of a checkpoint, with one folder of it fetched.

    Raises:
        ModelError: it cannot be fetched.
    """
    from huggingface_hub import snapshot_download

    with loading("checkpoint", files.name):
        return snapshot_download(
            files.location, revision=files.revision or "main", allow_patterns=[f"{part}/*"]
        )


def read_manifest(files: ModelFiles) -> Manifest:
    """`pe_rank.json`, validated.

    Raises:
        ModelError: a field is missing, unknown or of the wrong type.
    """
    try:
        return Manifest.model_validate(read_json(files, MANIFEST))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{files.name}/{MANIFEST}: {where}: {first['msg']}") from error


def save_compact(
    folder: Path, manifest: Manifest, projector: nn.Module, dtype: torch.dtype, adapter: Path | None = None
) -> None:
    """Write a compact checkpoint; `adapter` is a folder that PEFT wrote."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.to(dtype).contiguous().cpu() for name, weight in projector.state_dict().items()}
    save_file(weights, folder / _PROJECTOR)
    if adapter is not None:
        for name in (ADAPTER_CONFIG, "adapter_model.safetensors"):
            shutil.copyfile(adapter / name, folder / name)
    text = json.dumps(manifest.model_dump(), indent=2, ensure_ascii=False)
    replace_file(folder / MANIFEST, text + "\n")
