"""Names of code in the files of sentence-transformers models: known ones pass, all others are refused.

sentence-transformers imports and calls what these files name: any callable under `torch.` as an activation,
any attribute of its own modules as a module, and any setting of `from_pretrained`. A model's files are data
here, so each name is compared with a short list before the library reads the files.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rerankers.errors import ModelError
from rerankers.files.model_json import parse_model_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from rerankers.models.locate import ModelFiles

_ACTIVATIONS = ("Identity", "LogSigmoid", "ReLU", "GELU", "SiLU", "Sigmoid", "Softmax", "Tanh")
_ACTIVATION = re.compile(rf"torch\.nn\.(modules\.(activation|linear)\.)?({'|'.join(_ACTIVATIONS)})")
_MODULE = re.compile(r"sentence_transformers\.[\w.]*\b(\w+)")
_MODULES = {
    "CNN",
    "Dense",
    "Dropout",
    "HierarchicalTokenPooling",
    "LSTM",
    "LayerNorm",
    "LogitScore",
    "MultiVectorMask",
    "Normalize",
    "Pooling",
    "Transformer",
    "WeightedLayerPooling",
}
# Settings that a model may state of its own loading; others say which files are read, and how far to trust.
_SETTINGS = {
    "model": {"attn_implementation", "dtype", "torch_dtype"},
    "processor": {
        "add_eos_token",
        "do_lower_case",
        "max_length",
        "model_max_length",
        "padding_side",
        "truncation_side",
        "use_fast",
    },
    "config": {"is_causal", "is_decoder", "num_labels", "use_bidirectional_attention", "use_cache"},
}
_GROUPS = {
    "model_args": "model",
    "model_kwargs": "model",
    "tokenizer_args": "processor",
    "processor_kwargs": "processor",
    "config_args": "config",
    "config_kwargs": "config",
}


def stated_activation(files: ModelFiles) -> str | None:
    """Return the class name of the activation that a cross-encoder's files state, such as `Sigmoid`, or None.

    Both spellings in `config.json` count, and that of a folder with `modules.json`.

    Raises:
        ModelError: a file names an activation that is not on the list.
    """
    config = _read(files, "config.json", {})
    inner = config.get("sentence_transformers")
    stated = [
        _read(files, "config_sentence_transformers.json", {}).get("activation_fn")
        if _read(files, "modules.json", [])
        else None,
        inner.get("activation_fn") if isinstance(inner, dict) else inner,
        config.get("sbert_ce_default_activation_function"),
    ]
    names = [_activation(files.name, value) for value in stated if value is not None]
    return names[0] if names else None


def check_stated_code(files: ModelFiles, trust_remote_code: bool = False) -> None:
    """Refuse a model whose files name a module, an activation or a loading setting that is not on the lists.

    Args:
        files: the location of the model.
        trust_remote_code: whether the repository's own modules may be imported.

    Raises:
        ModelError: there is such a name; the message has it, and the file that states it.
    """
    for module in _read(files, "modules.json", []):
        if isinstance(module, dict):  # otherwise the library says what is wrong with it
            kind, folder = str(module.get("type")), str(module.get("path", ""))
            check_stated_module(files, kind, folder, trust_remote_code=trust_remote_code)


def check_stated_module(
    files: ModelFiles,
    kind: str,
    folder: str,
    *,
    more: AbstractSet[str] = frozenset(),
    trust_remote_code: bool = False,
) -> None:
    """Refuse a module, or an activation or a loading setting in its folder, that is not on the lists.

    Args:
        files: the location of the model.
        kind: the module's class, as `modules.json` or a router names it.
        folder: the module's folder inside the model.
        more: further classes of sentence-transformers that are allowed.
        trust_remote_code: whether the repository's own modules may be imported.

    Raises:
        ModelError: there is such a name; the message has it, and the file that states it.
    """
    parsed = _MODULE.fullmatch(kind)
    if parsed is None or parsed[1] not in _MODULES | more:
        if trust_remote_code and not kind.startswith("sentence_transformers."):
            return
        raise ModelError(
            f"{files.name!r}: modules.json names the module {kind!r}, which is not imported. Allowed are "
            f"those of sentence_transformers: {', '.join(sorted(_MODULES | more))}."
        )
    if parsed[1] == "Dense":
        stated = _read(files, f"{folder}/config.json", {}).get("activation_function")
        if stated is not None:
            _activation(files.name, stated)
    if parsed[1] == "Transformer":
        _check_settings(files, f"{folder}/" if folder else "")


def _check_settings(files: ModelFiles, folder: str) -> None:
    """Refuse a transformer module whose settings files set anything that is not on the list.

    Args:
        files: the location of the model.
        folder: the module's folder inside the model, with a slash behind it; empty for the model's own.

    Raises:
        ModelError: there is such a setting.
    """
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"):
        name = f"{folder}sentence_{kind}_config.json"
        content = _read(files, name, {})
        for group, values in content.items():
            settings: Mapping[str, Any] = values if isinstance(values, dict) else {}
            if group in _GROUPS:
                allowed = _SETTINGS[_GROUPS[group]] | {"trust_remote_code"}  # which the library drops
                stranger = next((key for key in settings if key not in allowed), None)
                if stranger is not None:
                    raise ModelError(
                        f"{files.name!r}: {name} sets {group}.{stranger}, which a model's files may not set. "
                        f"Allowed are {', '.join(sorted(allowed))}."
                    )
            methods = [v.get("method") for v in settings.values() if isinstance(v, dict)]
            if group == "modality_config" and any(method != "forward" for method in methods):
                raise ModelError(f"{files.name!r}: {name} calls {methods}; only 'forward' is called here.")
        if "tokenizer_name_or_path" in content:
            raise ModelError(
                f"{files.name!r}: {name} takes its tokenizer from elsewhere. Put its files into the folder."
            )


def _activation(name: str, stated: object) -> str:
    """Return the class name of a stated activation, such as `Sigmoid` for `torch.nn.Sigmoid`.

    Args:
        name: the model's name, for errors.
        stated: the value in the model's files.

    Raises:
        ModelError: the activation is not on the list.
    """
    parsed = _ACTIVATION.fullmatch(stated) if isinstance(stated, str) else None
    if parsed is None:
        raise ModelError(
            f"{name!r}: its files name the activation {stated!r}, which is not called. Allowed are "
            f"torch.nn.{', torch.nn.'.join(_ACTIVATIONS)}. Correct the file, or remove the entry."
        )
    return parsed[3]


def _read(files: ModelFiles, name: str, default: Any) -> Any:
    """Return the content of one of a model's JSON files.

    Args:
        files: the location of the model.
        name: the file's path inside the model.
        default: returned if there is no such file, or if its content has another type than this.
    """
    from rerankers.models.model_files import find_file

    path = find_file(files, name)
    if path is None:
        return default
    value = parse_model_json(path, files.name)
    return value if isinstance(value, type(default)) else default
