"""`pe_rank.json`: the language model, encoder, projector and prompt template that belong together.

It is validated strictly. Reading it loads no weights.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from rerankers.encoders.recipe import read_json
from rerankers.errors import ModelError
from rerankers.files.paths import existing_path
from rerankers.models.folder import folder_inside
from rerankers.models.locate import find_model
from rerankers.models.remote_code import loading
from rerankers.pe_rank.prompt import PromptTemplate

if TYPE_CHECKING:
    from rerankers.models.locate import ModelFiles

MANIFEST = "pe_rank.json"


class _Strict(BaseModel):
    """The base class of the manifest's entries: immutable, without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LLMEntry(_Strict):
    """The base language model: name, hub revision, and the fingerprint of local files or a wheel."""

    model: str
    revision: str | None = None
    fingerprint: str | None = None


class EncoderEntry(_Strict):
    """The encoder that the projector was trained with, and the settings that it was used with."""

    model: str
    revision: str | None = None
    fingerprint: str | None = None
    pooling: Literal["auto", "mean", "cls", "last_token"]  # auto: as the encoder's own files say
    dimension: int
    passage_prefix: str = ""
    max_length: int = 512


class PromptEntry(_Strict):
    """The fields of the prompt template; see `rerankers.pe_rank.prompt.PromptTemplate`."""

    prefix: str
    passage: str
    passage_with_text: str
    suffix: str
    chat: bool


class Manifest(_Strict):
    """The content of `pe_rank.json`.

    Attributes:
        version: of this format.
        llm: base language model.
        encoder: the projector's encoder.
        projector: kind of projector, such as `mlp2x_gelu`.
        prompt: the prompt template it was trained with.
        training: data, recipe and scores of the training, for people.
    """

    version: Literal[1] = 1
    llm: LLMEntry
    encoder: EncoderEntry
    projector: str
    prompt: PromptEntry = PromptEntry(**asdict(PromptTemplate()))
    training: dict[str, Any] = {}


def referenced_models(name: str) -> dict[str, str | None]:
    """Return the models that a local checkpoint refers to, with their hub revisions; none for other models.

    Args:
        name: of the checkpoint.

    Raises:
        ModelError: `pe_rank.json` is damaged.
    """
    checkpoint = _local_manifest(name)
    if checkpoint is None:
        return {}
    files, manifest = checkpoint
    return {
        base_model(files, manifest): manifest.llm.revision,
        manifest.encoder.model: manifest.encoder.revision,
    }


def prompt_template(name: str) -> PromptTemplate:
    """Return the prompt template of a local checkpoint; the paper's for every other model.

    Args:
        name: of the checkpoint.
    """
    checkpoint = _local_manifest(name)
    return PromptTemplate() if checkpoint is None else PromptTemplate(**checkpoint[1].prompt.model_dump())


def _local_manifest(name: str) -> tuple[ModelFiles, Manifest] | None:
    """Return a local checkpoint's files and manifest; None for a model that is not local or has none."""
    if not (name.startswith("bundled:") or existing_path(name)):
        return None
    files = find_model(name)
    return (files, read_manifest(files)) if read_json(files, MANIFEST) else None


def base_model(files: ModelFiles, manifest: Manifest) -> str:
    """Return the name of a checkpoint's language model: the manifest's, or for `./llm` the path of that
    folder.

    Such a model was trained as a whole and lies beside the manifest.
    """
    name = manifest.llm.model
    if not name.startswith("./"):
        return name
    location = files.location if files.is_local else _fetched(files, name.removeprefix("./"))
    return str(folder_inside(location, name))


def _fetched(files: ModelFiles, part: str) -> str:
    """Return the path of the hub's snapshot of a checkpoint, with one of its folders fetched.

    Args:
        files: the location of the checkpoint.
        part: the folder's name.

    Raises:
        ModelError: it cannot be fetched.
    """
    from huggingface_hub import snapshot_download

    with loading("checkpoint", files.name):
        return snapshot_download(
            files.location, revision=files.revision or "main", allow_patterns=[f"{part}/*"]
        )


def read_manifest(files: ModelFiles) -> Manifest:
    """Return the content of a checkpoint's `pe_rank.json`, validated.

    Raises:
        ModelError: a field is missing, unknown or of the wrong type.
    """
    try:
        return Manifest.model_validate(read_json(files, MANIFEST))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{files.name}/{MANIFEST}: {where}: {first['msg']}") from error
