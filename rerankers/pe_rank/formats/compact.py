"""This project's own checkpoint format: only the weights that training changed, a few megabytes.

    pe_rank.json                the language model, encoder, projector and template that belong together
    projector.safetensors       `0.weight`, `0.bias`, `2.weight`, ...; see `rerankers.pe_rank.projector`
    adapter_config.json         optional: a LoRA adapter in PEFT's format
    adapter_model.safetensors
    llm/                        optional: a language model trained as a whole, `./llm` in the manifest

`pe_rank.json` is validated strictly by `Manifest`. Weights may be float16; they are converted to the
language model's dtype.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from safetensors.torch import save_file

from rerankers.encoders.recipe import read_json
from rerankers.encoders.weights import read_weights
from rerankers.errors import ModelError
from rerankers.files.writing import replace_file
from rerankers.llm.adapter import ADAPTER_CONFIG, merge_adapter
from rerankers.llm.causal import CausalLM
from rerankers.models.locate import find_model
from rerankers.models.model_files import find_file
from rerankers.pe_rank.formats.manifest import MANIFEST, Manifest, base_model, read_manifest
from rerankers.pe_rank.formats.parts import EncoderIdentity, Parts
from rerankers.pe_rank.projector import input_dimension, load_projector
from rerankers.pe_rank.prompt import PromptTemplate

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from rerankers.models.devices import AttentionName, DtypeName
    from rerankers.models.locate import ModelFiles

_PROJECTOR = "projector.safetensors"


def read_compact(files: ModelFiles, *, dtype: DtypeName, device: str, attention: AttentionName) -> Parts:
    """Return the parts of a compact checkpoint, the base model that it names loaded.

    Args:
        files: the location of the checkpoint.
        dtype: of the base model's weights.
        device: the device that it runs on.
        attention: transformers' attention implementation.

    Raises:
        ModelError: the manifest does not validate, a file is missing, or the base model is another one.
    """
    manifest = read_manifest(files)
    llm = base_model(files, manifest)
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


def save_compact(
    folder: Path, manifest: Manifest, projector: nn.Module, dtype: torch.dtype, adapter: Path | None = None
) -> None:
    """Write a compact checkpoint into a folder.

    Args:
        folder: made if it does not exist.
        manifest: the content of `pe_rank.json`.
        projector: the trained projector.
        dtype: in which its weights are stored.
        adapter: a folder that PEFT wrote, with a LoRA adapter to copy; None for none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.to(dtype).contiguous().cpu() for name, weight in projector.state_dict().items()}
    save_file(weights, folder / _PROJECTOR)
    if adapter is not None:
        for name in (ADAPTER_CONFIG, "adapter_model.safetensors"):
            shutil.copyfile(adapter / name, folder / name)
    text = json.dumps(manifest.model_dump(), indent=2, ensure_ascii=False)
    replace_file(folder / MANIFEST, text + "\n")
