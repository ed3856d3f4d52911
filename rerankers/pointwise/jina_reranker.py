"""Jina reranker v2 without its own code, which does not run under transformers 5.

`jinaai/jina-reranker-v2-base-multilingual` is an ordinary XLM-RoBERTa sequence classifier (absolute
positions, erf GELU, layer norm after each block) whose weights carry the names of the flash-attention
implementation and whose configuration names no `model_type`, only code in its repository. That code imports
`create_position_ids_from_input_ids`, which transformers 5 moved into a class. It is enough to rename the
weights, which is done once, into the cache folder, in the layout that every loader reads.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerankers.errors import ModelError
from rerankers.models.folder import check_hub_model
from rerankers.models.locate import ModelFiles, cache_folder

if TYPE_CHECKING:
    import torch

_CODE = "XLMRobertaFlashConfig"
_RENAMED = (
    (r"^roberta\.emb_ln\.", "roberta.embeddings.LayerNorm."),
    (r"\.encoder\.layers\.", ".encoder.layer."),
    (r"\.mixer\.out_proj\.", ".attention.output.dense."),
    (r"\.norm1\.", ".attention.output.LayerNorm."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
    (r"\.norm2\.", ".output.LayerNorm."),
)
_UNUSED = ("roberta.pooler.dense.weight", "roberta.pooler.dense.bias")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def renamed(files: ModelFiles) -> ModelFiles:
    """Return a Jina reranker v2's files in XLM-RoBERTa's layout, written to the cache; any other model's
    unchanged.

    Raises:
        ModelError: the files name the same code but are not that architecture.
    """
    from rerankers.encoders.recipe import read_json

    config = read_json(files, "config.json")
    code = config.get("auto_map")
    if not isinstance(code, dict) or str(code.get("AutoConfig")).rpartition(".")[2] != _CODE:
        return files
    if config.get("architectures") != ["XLMRobertaForSequenceClassification"]:
        raise ModelError(f"{files.name!r} is a {config.get('architectures')}, not a sequence classifier")
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise ModelError(f"{files.name!r} has rotary positions; use the reranker rerank-api with a server")
    check_hub_model(files)
    source = _folder(files)
    version = (files.fingerprint or source.name).removeprefix("sha256:")
    target = cache_folder() / "renamed" / f"{re.sub('[^A-Za-z0-9._-]', '-', files.name)[-60:]}-{version[:40]}"
    if not target.is_dir():
        _rename(source, config, target)
    return ModelFiles(files.name, str(target), fingerprint=files.fingerprint or version)


def _folder(files: ModelFiles) -> Path:
    """Return the folder with a model's JSON files and weights, fetched from the hub if need be."""
    if files.is_local:
        return Path(files.location)
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors"]
    return Path(snapshot_download(files.location, revision=files.revision, allow_patterns=patterns))


def _rename(source: Path, config: dict[str, Any], target: Path) -> None:
    """Write a Jina reranker v2 in XLM-RoBERTa's layout to a folder.

    A scratch folder is written first and then moved, so that the cache never holds half a model.

    Args:
        source: the folder of the model as published.
        config: the content of its `config.json`.
        target: the folder to write.

    Raises:
        ModelError: the weights do not fit.
    """
    from safetensors.torch import load_file
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    settings = {name: value for name, value in config.items() if name not in ("auto_map", "_name_or_path")}
    model: Any = XLMRobertaForSequenceClassification(XLMRobertaConfig.from_dict(settings))
    try:
        weights = _rename_weights(load_file(source / "model.safetensors"))
        model.load_state_dict(weights, strict=True)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{source} does not hold a Jina reranker v2: {reason}") from error
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        folder = Path(scratch) / "model"
        model.to(next(iter(weights.values())).dtype).save_pretrained(folder)
        for name in _TOKENIZER_FILES:
            if (source / name).is_file():
                shutil.copy(source / name, folder / name)
        if not target.exists():
            shutil.move(folder, target)


def _rename_weights(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights by the names of transformers, from weights by Jina's names.

    The fused projection is split into query, key and value; the pooler is left out.
    """
    result: dict[str, torch.Tensor] = {}
    for old, tensor in weights.items():
        if old in _UNUSED:
            continue
        name = old
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        fused = re.fullmatch(r"(.+)\.mixer\.Wqkv\.(weight|bias)", name)
        if fused is None:
            result[name] = tensor
            continue
        for part, rows in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
            result[f"{fused[1]}.attention.self.{part}.{fused[2]}"] = rows
    return result
