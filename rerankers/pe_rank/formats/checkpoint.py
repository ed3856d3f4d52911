"""The loader of PE-Rank checkpoints in any form, with checks that encoder, projector and LLM belong together.

(a) a full model of the authors, `model_type: embed_mistral` or `embed_llama`      `released.py`
(b) a base model with a LoRA adapter, `non_lora_trainables.bin`, `projector.bin`   `adapter.py`
(c) a base model, and a projector on its own                                       here
(d) this project's compact format                                                  `compact.py`
(e) a base model and an encoder alone: a random projector, labelled untrained      here

A projector belongs to one encoder, one pooling, one dimension. Another encoder is refused unless the options
allow the swap, and then it is labelled; another dimension is always refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rerankers.encoders.encoder import Encoder
from rerankers.encoders.recipe import read_json
from rerankers.encoders.weights import read_weights
from rerankers.errors import InputError, ModelError
from rerankers.files.fingerprints import file_digest
from rerankers.files.paths import existing_path, user_path
from rerankers.llm.adapter import ADAPTER_CONFIG
from rerankers.llm.causal import CausalLM
from rerankers.methods.runtimes import RuntimeOptions
from rerankers.models.locate import ModelFiles, find_model
from rerankers.models.remote_code import loading
from rerankers.pe_rank.formats.adapter import read_adapter_run
from rerankers.pe_rank.formats.compact import read_compact
from rerankers.pe_rank.formats.manifest import MANIFEST
from rerankers.pe_rank.formats.parts import EncoderIdentity, Parts
from rerankers.pe_rank.formats.released import FAMILY, named_encoder, read_released
from rerankers.pe_rank.model import PassageLLM
from rerankers.pe_rank.projector import (
    input_dimension,
    load_projector,
    output_dimension,
    untrained_projector,
)
from rerankers.pe_rank.prompt import PromptWriter

if TYPE_CHECKING:
    from pathlib import Path

    from rerankers.methods.embedded import PoolingName
    from rerankers.methods.runtimes import BackendName
    from rerankers.models.devices import AttentionName, DtypeName
    from rerankers.text.control_tokens import ControlTokenMode

UNTRAINED = "untrained: the projector is random, so the order carries no meaning"


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a PE-Rank checkpoint, as the options name it; see `PERank`."""

    model: str
    revision: str | None
    encoder: str | None
    encoder_revision: str | None
    pooling: PoolingName
    projector: Path | None
    allow_encoder_swap: bool
    control_tokens: ControlTokenMode = "text"
    encoder_backend: BackendName = "torch"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded PE-Rank.

    Attributes:
        llm: the language model with its projector and prompt writer.
        encoder: embeds passages.
        described: the record's entry.
        notice: the note that every table has to show; empty for none.
    """

    llm: PassageLLM
    encoder: Encoder
    described: dict[str, object]
    notice: str


def load_checkpoint(source: Source, *, dtype: DtypeName, device: str, attention: AttentionName) -> Checkpoint:
    """Return a loaded checkpoint, whatever its form.

    Args:
        source: the checkpoint and its encoder, as the options name them.
        dtype: of the weights of language model and encoder.
        device: the device that they run on.
        attention: transformers' attention implementation.

    Raises:
        InputError: an option is missing, or the files do not exist.
        ModelError: weights are missing, surplus or of the wrong shape, or the encoder is not the projector's.
    """
    files = find_model(source.model, source.revision)
    with loading("checkpoint", source.model):
        parts = _read(files, source, dtype=dtype, device=device, attention=attention)
    encoder, notices = _encoder(parts, source, dtype=dtype, device=device, attention=attention)
    projector = parts.projector
    if projector is None:
        projector = untrained_projector(encoder.dimension, parts.llm.get_input_embeddings().weight)
        notices.append(UNTRAINED)
    taken = input_dimension(projector) or encoder.dimension
    if taken != encoder.dimension:
        raise ModelError(
            f"the projector takes {taken} dimensions but {encoder.describe()['model']!r} has "
            f"{encoder.dimension}; use the encoder it was trained with"
        )
    made, read = output_dimension(projector) or taken, parts.llm.get_input_embeddings().weight.shape[1]
    if made != read:
        raise ModelError(
            f"the projector makes {made} dimensions but {source.model!r} reads {read}; use the language "
            "model it was trained with"
        )
    llm = PassageLLM(
        parts.llm, projector, PromptWriter(parts.tokenizer, parts.template, source.control_tokens)
    )
    llm.refuse_inexact_windows()
    described = {**parts.described, "parameters": sum(weight.numel() for weight in parts.llm.parameters())}
    return Checkpoint(llm, encoder, described, "; ".join(notices))


def _read(
    files: ModelFiles, source: Source, *, dtype: DtypeName, device: str, attention: AttentionName
) -> Parts:
    """Return the parts of a checkpoint, read by its form, which its files determine.

    Raises:
        InputError: the checkpoint has a projector and the options name another.
    """
    if read_json(files, MANIFEST):
        reader = read_compact
    elif read_json(files, ADAPTER_CONFIG):
        reader = read_adapter_run
    elif str(read_json(files, "config.json").get("model_type")).startswith(FAMILY):
        reader = read_released
    else:
        return _base_and_projector(files, source, dtype=dtype, device=device, attention=attention)
    if source.projector is not None:
        raise InputError(f"{files.name!r} brings its own projector; leave the option 'projector' out")
    return reader(files, dtype=dtype, device=device, attention=attention)


def _base_and_projector(
    files: ModelFiles, source: Source, *, dtype: DtypeName, device: str, attention: AttentionName
) -> Parts:
    """Return the parts of a plain language model, with the projector file that the options name, if any.

    Raises:
        InputError: the options name neither encoder nor projector, or the projector does not exist.
    """
    if source.encoder is None and source.projector is None:
        raise InputError(f"{files.name!r} is a plain language model; name the option 'encoder' too")
    projector, identity, described = None, None, {}
    if source.projector is not None:
        path = user_path(source.projector)
        if path.is_dir():
            safe = path / "projector.safetensors"
            path = safe if safe.is_file() else path / "projector.bin"
        if not path.is_file():
            raise InputError(f"no projector {str(path)!r}; give projector.bin or the folder it is in")
        digest = f"sha256:{file_digest(path)}"
        beside = ModelFiles(str(path.parent), str(path.parent), fingerprint=digest)
        stated = read_json(beside, "config.json")
        kind = stated.get("projector_type", "mlp2x_gelu")
        projector = load_projector(kind, read_weights(path), str(path))
        identity = named_encoder(beside, stated, None)
        described = {"projector": digest}
    base = CausalLM(source.model, revision=source.revision, dtype=dtype, device=device, attention=attention)
    kind = "base" if projector is None else "base and projector"
    return Parts(
        base.model, base.tokenizer, projector, identity, {**base.describe(), "format": kind, **described}
    )


def _encoder(
    parts: Parts, source: Source, *, dtype: DtypeName, device: str, attention: AttentionName
) -> tuple[Encoder, list[str]]:
    """Return the loaded encoder, and the notes on it that tables have to show.

    It is the projector's own, or the one that the options name.

    Raises:
        InputError: neither the checkpoint nor the options name an encoder.
        ModelError: the options name another encoder than the projector's and do not allow a swap.
    """
    trained = parts.encoder
    if trained is None:
        if source.encoder is None:
            raise InputError(
                "the projector does not say which encoder it belongs to; name the option 'encoder'"
            )
        unsure = parts.projector is not None
        notices = ["the projector names no encoder: only its dimension was checked"] if unsure else []
        wanted = EncoderIdentity(source.encoder, source.pooling, source.encoder_revision)
    else:
        reasons = _differences(trained, source)
        if reasons and not source.allow_encoder_swap:
            raise ModelError(f"{'; '.join(reasons)}; set allow_encoder_swap to run it all the same")
        notices = [f"encoder swapped: {'; '.join(reasons)}"] if reasons else []
        wanted = (
            _swapped(trained, source) if reasons else replace(trained, model=source.encoder or trained.model)
        )
    encoder = Encoder(
        wanted.model,
        revision=wanted.revision,
        pooling=wanted.pooling,  # type: ignore[arg-type]
        max_length=wanted.max_length,
        passage_prefix=wanted.passage_prefix,
        similarity="cosine",  # projectors read vectors of length one
        control_tokens=source.control_tokens,
        dtype=dtype,
        device=device,
        attention="auto" if attention == "flash_attention_2" else attention,
        weights=wanted.weights,
        runtime=RuntimeOptions(backend=source.encoder_backend),
    )
    return encoder, notices


def _swapped(trained: EncoderIdentity, source: Source) -> EncoderIdentity:
    """Return the identity of the encoder that the options name in place of the projector's own."""
    name = source.encoder or trained.model
    is_same = _same_model(name, trained)
    pooling = trained.pooling if source.pooling == "auto" and is_same else source.pooling
    weights = trained.weights if is_same and source.encoder_revision is None else None
    return EncoderIdentity(name, pooling, source.encoder_revision, weights=weights)


def _differences(trained: EncoderIdentity, source: Source) -> list[str]:
    """Return the reasons why the encoder of the options is not the projector's own; empty if it is."""
    reasons = []
    name = source.encoder or trained.model
    if not _same_model(name, trained):
        reasons.append(f"the projector was trained with {trained.model!r}, not {name!r}")
    elif trained.weights is None and trained.fingerprint is not None:
        files = find_model(name, source.encoder_revision or trained.revision)
        if not files.have_content(trained.fingerprint):
            reasons.append(f"the projector was trained with other weights of {name!r}")
    if source.encoder_revision not in (None, trained.revision):
        reasons.append(
            f"the projector was trained with revision {trained.revision}, not {source.encoder_revision}"
        )
    if source.pooling != "auto" and trained.pooling not in ("auto", source.pooling):
        reasons.append(f"the projector was trained with {trained.pooling} pooling, not {source.pooling}")
    return reasons


def _same_model(name: str, trained: EncoderIdentity) -> bool:
    """Return whether a name means the projector's own encoder: the same name, folder or content."""
    if name == trained.model:
        return True
    ours, theirs = existing_path(name), existing_path(trained.model)
    if ours and theirs and ours.samefile(theirs):
        return True
    content = trained.fingerprint or (find_model(trained.model).fingerprint if theirs else None)
    files = find_model(name)
    return content is not None and files.is_local and files.have_content(content)
