"""The reader of the authors' full models: LLM, projector and encoder in one state dict.

`config.json` says `model_type: embed_mistral` or `embed_llama`, a class that only the authors' code has. Its
weights are those of plain Mistral or Llama, beside `model.projector.*` and the encoder under
`model.encoder.encoder.*`; so the plain class of transformers loads them, and no remote code is run.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rerankers.encoders.recipe import Pooling, read_json
from rerankers.encoders.weights import read_model_weights
from rerankers.errors import ModelError
from rerankers.models.devices import AttentionName, DtypeName, resolve_device, resolve_dtype
from rerankers.models.folder import check_hub_model, folder_inside
from rerankers.models.loading_report import load_complete
from rerankers.models.vocabulary import load_tokenizer
from rerankers.pe_rank.formats.parts import EncoderIdentity, Parts
from rerankers.pe_rank.projector import load_projector

if TYPE_CHECKING:
    from rerankers.models.locate import ModelFiles

FAMILY = "embed_"
_ENCODER, _PROJECTOR = "model.encoder.encoder.", "model.projector."
_OWN_FIELDS = {
    "architectures",
    "auto_map",
    "dtype",
    "embedding_size",
    "encoder_name",
    "encoder_pooling",
    "freeze_projector",
    "model_type",
    "projector_type",
    "torch_dtype",
    "transformers_version",
    "use_proj",
}


def read_released(files: ModelFiles, *, dtype: DtypeName, device: str, attention: AttentionName) -> Parts:
    """Return the parts of a full model, its language model loaded.

    Args:
        files: the location of the model.
        dtype: of the language model's weights.
        device: the device that it runs on.
        attention: transformers' attention implementation.

    Raises:
        ModelError: weights are missing or surplus, or the backbone is not a causal LM of transformers.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    check_hub_model(files)
    stated = read_json(files, "config.json")
    try:
        config = AutoConfig.for_model(
            stated["model_type"].removeprefix(FAMILY),
            **{key: value for key, value in stated.items() if key not in _OWN_FIELDS},
        )
        backbone: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"{files.name!r}: no causal LM is known behind model_type {stated['model_type']!r}"
        ) from error
    weights = read_model_weights(files)
    encoder = {k.removeprefix(_ENCODER): v for k, v in weights.items() if k.startswith(_ENCODER)}
    identity = named_encoder(files, stated, encoder or None)
    projector = {k: v for k, v in weights.items() if k.startswith(_PROJECTOR)}
    plain = {k: v for k, v in weights.items() if not k.startswith((_ENCODER, _PROJECTOR))}
    where = resolve_device(device)
    how = {"attn_implementation": attention} if attention != "auto" else {}
    load = partial(
        backbone.from_pretrained,
        None,
        config=config,
        state_dict=plain,
        dtype=resolve_dtype(dtype, where),
        **how,
    )
    llm = load_complete(files.name, load)
    return Parts(
        llm=llm.to(where).eval().requires_grad_(False),
        tokenizer=load_tokenizer(files, config),
        projector=load_projector(stated.get("projector_type", "mlp2x_gelu"), projector, files.name),
        encoder=identity,
        described={
            "model": files.name,
            "revision": getattr(config, "_commit_hash", None) or files.revision or files.fingerprint,
            "format": stated["model_type"],
        },
    )


def named_encoder(
    files: ModelFiles, stated: dict[str, Any], weights: dict[str, Any] | None
) -> EncoderIdentity | None:
    """Return the encoder that a `config.json` of the authors' code names: a folder beside it, or a hub id.

    Args:
        files: the location of the checkpoint.
        stated: the content of `config.json`.
        weights: the encoder's weights, if the checkpoint contains them.

    Returns:
        The encoder; None if the file names none.

    Raises:
        ModelError: its pooling is not computed here.
    """
    name, pooling = stated.get("encoder_name"), stated.get("encoder_pooling", "auto")
    if name is None:
        return None
    if pooling not in ("auto", *get_args(Pooling)):
        raise ModelError(
            f"{files.name!r}: encoder_pooling is {pooling!r}; set it to one of {', '.join(get_args(Pooling))}"
        )
    inside = (Path(files.location) / name).is_dir() and not Path(name).is_absolute()
    return EncoderIdentity(
        model=str(folder_inside(files.location, name)) if files.is_local and inside else name,
        pooling=pooling,
        weights=weights,
    )
