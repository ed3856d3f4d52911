"""The network of an encoder: a `SentenceTransformer`, loaded by the library or put together here.

sentence-transformers loads every model that it can. Two kinds get a transformer of our own in front of its
pooling: Jina v2, which current transformers do not know, and an encoder whose weights come from elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from rerankers.encoders.backbone import Backbone, load_backbone
from rerankers.encoders.recipe import POOLING_NAMES, read_json
from rerankers.errors import ModelError
from rerankers.models.loading_report import POOLER, complete_weights
from rerankers.models.vocabulary import check_rows, check_vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerankers.encoders.folder import EncoderFolder
    from rerankers.models.devices import AttentionName
    from rerankers.models.locate import ModelFiles

_OWN_KINDS = {"Transformer", "Pooling", "Normalize"}


def load_network(
    files: ModelFiles,
    folder: EncoderFolder,
    pooling: str | None,
    *,
    dtype: torch.dtype,
    device: torch.device,
    attention: AttentionName,
    weights: Mapping[str, torch.Tensor] | None,
) -> SentenceTransformer:
    """Return a loaded model in evaluation mode, without gradients.

    Modules after the transformer run in float32.

    Args:
        files: the location of the model.
        folder: the settings in its files.
        pooling: the pooling that the options or a preset choose; None for the model's own.
        dtype: of the transformer's weights.
        device: the device that the model runs on.
        attention: transformers' attention implementation.
        weights: these weights in place of the transformer's own.

    Raises:
        ModelError: the files do not load, weights are missing or surplus, or the pooling does not fit.
    """
    if not folder.config and (not folder.modules or "Transformer" in folder.kinds):
        raise ModelError(f"{files.name!r} has no config.json that can be read: not a model, or no network")
    if weights is not None or folder.is_jina_v2:
        model = _with_own_backbone(files, folder, pooling, dtype, attention, weights)
    else:
        how: dict[str, Any] = {"dtype": dtype}
        if attention != "auto":
            how["attn_implementation"] = attention
        with complete_weights(files.name, None if folder.reads_pooler else POOLER):
            model = _loaded(files, folder, pooling, how)
    for transformer in transformers_of(model):
        if isinstance(transformer, Transformer):
            transformer.unpad_inputs = False  # rows are batched here, so they must stay rows
            if transformer.query_expansion is not None:
                raise ModelError(
                    f"{files.name!r} expands its queries, as multi-vector models do. Use late-interaction."
                )
        check_vocabulary(files.name, transformer.tokenizer)
        check_rows(files.name, transformer.tokenizer, transformer.model)
    _run_heads_in_float32(model)
    return model.to(device).eval().requires_grad_(False)


def transformers_of(model: SentenceTransformer) -> list[Transformer | Backbone]:
    """Return the modules of a model that tokenise: one, or one for each route of a Router; none for
    word vectors.
    """
    return [module for module in model.modules() if isinstance(module, Transformer | Backbone)]


def tokenizers_of(model: SentenceTransformer, name: str) -> dict[str, Any]:
    """Return the tokenizers by task, `query` and `document`, for the tasks whose texts a transformer reads.

    Args:
        model: the loaded model.
        name: the model's name, for errors.

    Raises:
        ModelError: a router has no route for queries or for documents.
    """
    first: Any = model[0]
    inputs = {"query": first, "document": first}
    if isinstance(first, Router):
        routes: Any = first.sub_modules
        if not inputs.keys() <= routes.keys():
            raise ModelError(
                f"{name!r} routes {', '.join(map(repr, routes))}, where 'query' and 'document' are needed. "
                "Use another model."
            )
        inputs = {task: routes[task][0] for task in inputs}
    return {
        task: module.tokenizer
        for task, module in inputs.items()
        if isinstance(module, Transformer | Backbone)
    }


def control_tokenizers_of(model: SentenceTransformer) -> dict[str, Any]:
    """Return the tokenizers that may know control tokens, by task, as tokenizers of transformers."""
    first: Any = model[0]
    is_routed = isinstance(first, Router)
    by_task = {}
    for task in ("query", "document"):
        module = first.sub_modules[task][0] if is_routed else first
        tokenizer = getattr(module, "tokenizer", None)
        if isinstance(tokenizer, Tokenizer):  # of averaged word vectors
            make: Any = PreTrainedTokenizerFast
            tokenizer = make(tokenizer_object=tokenizer)
        if hasattr(tokenizer, "added_tokens_decoder"):
            by_task[task] = tokenizer
    return by_task


def _loaded(
    files: ModelFiles, folder: EncoderFolder, pooling: str | None, how: dict[str, Any]
) -> SentenceTransformer:
    """Return the model as sentence-transformers loads it, or only its transformer with a pooling.

    The latter is for files that do not tell how to pool.

    Args:
        files: the location of the model.
        folder: the settings in its files.
        pooling: the pooling to use; None for the model's own.
        how: further arguments of transformers' `from_pretrained`.

    Raises:
        ModelError: further modules depend on a pooling that the files do not state.
    """
    if folder.pooling_gap is None:
        model = SentenceTransformer(files.location, revision=files.revision, device="cpu", model_kwargs=how)
        if not any(isinstance(module, Pooling) for module in model.modules()):
            model = _pooled(files, model, pooling)
        elif pooling is not None:
            _choose_pooling(files, model, pooling)
        return model
    if folder.kinds - _OWN_KINDS:
        behind = ", ".join(sorted(folder.kinds - _OWN_KINDS))
        raise ModelError(f"{folder.pooling_gap}, on which {behind} depends. Download the model again.")
    transformer = Transformer.load(
        files.location, subfolder=folder.transformer, revision=files.revision, model_kwargs=how
    )
    return SentenceTransformer(modules=[transformer, _pooling(transformer, pooling)], device="cpu")


def _pooled(files: ModelFiles, model: SentenceTransformer, pooling: str | None) -> SentenceTransformer:
    """Return the model with a pooling appended, if its only module gives vectors of tokens; else unchanged.

    Raises:
        ModelError: a pooling is needed and none is chosen.
    """
    last: Any = model[len(model) - 1]
    if not (
        len(model) == 1 and isinstance(last, Transformer) and last.module_output_name != "sentence_embedding"
    ):
        return model
    if pooling is None:
        raise ModelError(
            f"{files.name!r} ends without a pooling. Set pooling to {' or '.join(POOLING_NAMES)}."
        )
    model.append(_pooling(last, pooling))
    return model


def _choose_pooling(files: ModelFiles, model: SentenceTransformer, pooling: str) -> None:
    """Change the mode of the model's own pooling modules to the chosen one.

    Raises:
        ModelError: a module joins several poolings.
    """
    for module in model.modules():
        if isinstance(module, Pooling) and module.pooling_mode != POOLING_NAMES[pooling]:
            if not isinstance(module.pooling_mode, str):
                raise ModelError(
                    f"{files.name!r} joins the poolings {' and '.join(module.pooling_mode)}. Leave the "
                    "option pooling out."
                )
            module.pooling_mode = POOLING_NAMES[pooling]


def _with_own_backbone(
    files: ModelFiles,
    folder: EncoderFolder,
    pooling: str | None,
    dtype: torch.dtype,
    attention: AttentionName,
    weights: Mapping[str, torch.Tensor] | None,
) -> SentenceTransformer:
    """Return a model made of our own transformer and a pooling; see `load_network` for the arguments.

    Raises:
        ModelError: the files have modules or settings that this does not run.
    """
    strange = [f"the module {kind}" for kind in sorted(folder.kinds - _OWN_KINDS)]
    strange += ["its transformer in a folder of its own"] if folder.transformer else []
    strange += ["do_lower_case"] if folder.is_lower_cased else []
    if strange:
        raise ModelError(
            f"{files.name!r} has {' and '.join(strange)}, which is not run with this architecture. Use "
            "another model."
        )
    backbone = load_backbone(files, folder.config, dtype, attention, weights)
    pooled = [module.path for module in folder.modules if module.kind == "Pooling"]
    if pooling is None and folder.pooling_gap is None:
        head = Pooling.load(files.location, subfolder=pooled[0], revision=files.revision)
        if not head.include_prompt:
            raise ModelError(f"{files.name!r} leaves prompts out of its pooling, which is not done here.")
    else:
        head = _pooling(backbone, pooling)
    settings = read_json(files, "config_sentence_transformers.json")
    return SentenceTransformer(
        modules=[backbone, head],
        device="cpu",
        prompts={name: text or "" for name, text in (settings.get("prompts") or {}).items()},
        truncate_dim=settings.get("truncate_dim"),
    )


def _pooling(transformer: Any, pooling: str | None) -> Pooling:
    """Return a pooling module of the chosen mode for a transformer's vectors."""
    assert pooling is not None  # noqa: S101 - refused before
    made: Pooling = Pooling(transformer.get_embedding_dimension(), POOLING_NAMES[pooling])
    return made


def _run_heads_in_float32(model: SentenceTransformer) -> None:
    """Make all modules after a model's transformer compute in float32, because scores in bfloat16 tie."""

    def cast(_module: Any, _inputs: Any, features: dict[str, Any]) -> dict[str, Any]:
        """Return a transformer's features with all floating-point tensors in float32, as a hook."""
        for name, value in features.items():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                features[name] = value.float()
        return features

    transformer_weights: set[torch.nn.Parameter] = set()
    for transformer in transformers_of(model):
        transformer_weights.update(transformer.parameters())
        transformer.register_forward_hook(cast)
    for weight in model.parameters():
        if weight not in transformer_weights:
            weight.data = weight.data.float()
