"""A strict reader of the files of a sentence-transformers model, used before anything is loaded.

`modules.json` lists the modules that a text passes, each with a folder: the transformer, its pooling, and
further ones (Dense, LayerNorm, Normalize). sentence-transformers guesses where a file is absent or lacks an
entry. A guess changes every vector, so such a file is refused here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from rerankers.encoders.recipe import POOLING_NAMES, read_json, read_list
from rerankers.errors import ModelError
from rerankers.models.model_files import find_file
from rerankers.models.stated_code import check_stated_module

if TYPE_CHECKING:
    from pathlib import Path

    from rerankers.models.locate import ModelFiles

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")

_FAMILY = "SentenceTransformer"
_POOLINGS = ("cls", "lasttoken", "max", "mean", "mean_sqrt_len_tokens", "weightedmean")
_INPUT_SETTINGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_MORE_MODULES = {"Asym", "Router", "StaticEmbedding", "WordWeights"}  # classes that only encoders have


@dataclass(frozen=True, slots=True)
class Module:
    """A row of `modules.json`: the class's own name, and the folder of its files inside the model."""

    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class EncoderFolder:
    """The settings in the files of a sentence-transformers model.

    Attributes:
        modules: the modules that a text passes, in order, a Router's included; empty without `modules.json`.
        transformer: folder of the transformer's `config.json` inside the model; empty for the model's own.
        pooling_gap: the reason why the files do not tell how tokens are pooled; None where they do.
        similarity: the measure that compares vectors; None where the files do not name it.
        max_length: longest input in tokens, special ones included; None where the files do not state it.
        max_length_file: the file that states it.
        reads_pooler: whether the transformer's pooler is read instead of its hidden states.
        config: the transformer's `config.json`; empty where there is none.
        is_lower_cased: whether texts are lower-cased before the tokenizer.
    """

    modules: tuple[Module, ...]
    transformer: str
    pooling_gap: str | None
    similarity: str | None
    max_length: int | None
    max_length_file: Path | None
    is_lower_cased: bool
    reads_pooler: bool
    config: dict[str, Any]

    @property
    def is_jina_v2(self) -> bool:
        """True if the transformer is Jina v2's, which calls itself a BERT."""
        return self.config.get("position_embedding_type") == "alibi"

    @property
    def kinds(self) -> set[str]:
        """The class names of the modules."""
        return {module.kind for module in self.modules}


def read_folder(files: ModelFiles) -> EncoderFolder:
    """Return the settings that a model's files state about its use, checked.

    Raises:
        ModelError: a file is damaged, is absent though `modules.json` names it, or has an entry that
            cannot be right.
    """
    modules = tuple(_modules(files))
    gap = None if modules else f"{files.name!r} has no {MODULES} that says how its tokens are pooled"
    for module in modules:
        if module.kind == "Pooling":
            gap = gap or _pooling_gap(files, module.path)
    transformer = next((module.path for module in modules if module.kind == "Transformer"), "")
    inputs = _input_settings(files, transformer)
    read_json(files, _joined(transformer, "tokenizer_config.json"))
    config = read_json(files, _joined(transformer, "config.json"))
    if not files.is_local and not (modules or config):
        raise ModelError(f"{files.name!r} has no config.json that can be read: not a model, or no network")
    return EncoderFolder(modules, transformer, gap, _similarity(files), *inputs, config)


def chosen_similarity(files: ModelFiles, folder: EncoderFolder, chosen: str) -> Literal["cosine", "dot"]:
    """Return the similarity of vectors: the chosen one; for `auto` that of the files, else cosine.

    Args:
        files: the location of the model, for errors.
        folder: the settings in its files.
        chosen: `auto`, `cosine` or `dot`.

    Raises:
        ModelError: the files name a similarity that is not computed here.
    """
    similarity = (folder.similarity or "cosine") if chosen == "auto" else chosen
    if similarity not in ("cosine", "dot"):
        reason = f"similarity_fn_name is {similarity!r}, which is not computed here"
        raise _wrong(files, SETTINGS, reason, "Set the option similarity to cosine or dot")
    return "dot" if similarity == "dot" else "cosine"


def chosen_pooling(folder: EncoderFolder, chosen: str, preset: str | None) -> str | None:
    """Return the pooling to load a model with; None for the one in its files.

    Args:
        folder: the settings in the model's files.
        chosen: the option's value; `auto` takes the files' pooling, or the preset's if they state none.
        preset: the pooling of the model's preset, if there is one.

    Raises:
        ModelError: neither option, files nor preset state a pooling.
    """
    if chosen != "auto":
        return chosen
    if folder.pooling_gap is None:
        return None
    if preset is not None:
        return preset
    names = ", ".join(POOLING_NAMES)
    raise ModelError(f"{folder.pooling_gap}. Set the option pooling to the one it was trained with: {names}.")


def _modules(files: ModelFiles) -> list[Module]:
    """Return the rows of `modules.json`, checked; after a Router, the modules of its routes follow.

    Raises:
        ModelError: a row lacks its type or path, leads outside the model, or names code that is not allowed.
    """
    modules = []
    for row in read_list(files, MODULES):
        kind, path = (row.get("type"), row.get("path")) if isinstance(row, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(path, str):
            raise _wrong(files, MODULES, "a row lacks its type or its path", "Download the model again")
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise _wrong(files, MODULES, f"{path!r} lies outside the model", "Do not trust this model")
        modules.append(_module(files, kind, path))
        if modules[-1].kind in ("Router", "Asym"):
            modules += _routes(files, path)
    return modules


def _routes(files: ModelFiles, path: str) -> list[Module]:
    """Return the modules of a Router, whose folders lie inside its own.

    Args:
        files: the location of the model.
        path: the Router's folder inside the model.

    Raises:
        ModelError: its files name no modules.
    """
    settings = read_json(files, _joined(path, "router_config.json"))  # or, in older files, config.json
    types = (settings or read_json(files, _joined(path, "config.json"))).get("types")
    if not isinstance(types, dict) or not all(isinstance(kind, str) for kind in types.values()):
        raise _wrong(files, _joined(path, "router_config.json"), "it names no modules", "Download it again")
    return [_module(files, kind, _joined(path, inside)) for inside, kind in types.items()]


def _module(files: ModelFiles, kind: str, path: str) -> Module:
    """Return a row of `modules.json` as a `Module`, checked against the list of allowed code.

    Args:
        files: the location of the model.
        kind: the class as the file names it.
        path: its folder inside the model.

    Raises:
        ModelError: the class is not on the list.
    """
    check_stated_module(files, kind, path, more=_MORE_MODULES)
    return Module(kind.rpartition(".")[2], path)


def _pooling_gap(files: ModelFiles, path: str) -> str | None:
    """Return the reason why a pooling module's file does not tell how to pool; None where it does.

    Args:
        files: the location of the model.
        path: the module's folder inside the model.

    Raises:
        ModelError: an entry of the file has a value that is not allowed.
    """
    name = _joined(path, "config.json")
    if find_file(files, name) is None:
        return f"{files.name!r} lacks {name}, which says how its tokens are pooled"
    config = read_json(files, name)
    flags = {key: value for key, value in config.items() if key.startswith("pooling_mode_")}
    for key, value in {**flags, "include_prompt": config.get("include_prompt", True)}.items():
        if not isinstance(value, bool):
            raise _wrong(files, name, f"{key} is {value!r}", "Set it to true or false")
    stated = config.get("pooling_mode")
    if stated is None:
        return None if any(flags.values()) else f"{files.name!r}: {name} says no pooling"
    modes = stated if isinstance(stated, list) else [stated]
    if not modes or not all(mode in _POOLINGS for mode in modes):
        raise _wrong(files, name, f"pooling_mode is {stated!r}", f"Allowed are {', '.join(_POOLINGS)}")
    return None


def _input_settings(files: ModelFiles, transformer: str) -> tuple[int | None, Path | None, bool, bool]:
    """Return `max_length`, its file, `is_lower_cased` and `reads_pooler` of `EncoderFolder`.

    They are from the first `sentence_*_config.json` with content in the transformer's folder.

    Raises:
        ModelError: an entry has a value that is not allowed.
    """
    for short in _INPUT_SETTINGS:
        name = _joined(transformer, short)
        config = read_json(files, name)
        length, lower = config.get("max_seq_length"), config.get("do_lower_case", False)
        if length is not None and (isinstance(length, bool) or not isinstance(length, int) or length < 1):
            reason = f"max_seq_length is {length!r}, which is no length"
            raise _wrong(files, name, reason, "Set it to a number of tokens")
        if not isinstance(lower, bool):
            raise _wrong(files, name, f"do_lower_case is {lower!r}", "Set it to true or false")
        if config:
            modalities = config.get("modality_config")
            rows = modalities.values() if isinstance(modalities, dict) else ()
            reads_pooler = any("pooler" in str(row) for row in rows)
            return length, find_file(files, name), lower, reads_pooler
    return None, None, False, False


def _similarity(files: ModelFiles) -> str | None:
    """Return the similarity that the settings file states, or None, once all its entries are checked.

    Raises:
        ModelError: an entry, such as prompts or `truncate_dim`, has a value that is not allowed.
    """
    config = read_json(files, SETTINGS)
    family = config.get("model_type", _FAMILY)
    if family != _FAMILY:
        raise _wrong(files, SETTINGS, f"the model is a {family}, not a {_FAMILY}", "Use another reranker")
    prompts, default = config.get("prompts") or {}, config.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise _wrong(files, SETTINGS, "prompts is not an object of texts", "Correct it")
    if default is not None and default not in prompts:
        prompt_names = ", ".join(map(repr, prompts)) or "none"
        reason = f"default_prompt_name is {default!r}, but prompts has {prompt_names}"
        raise _wrong(files, SETTINGS, reason, "Correct one of them")
    size = config.get("truncate_dim")
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise _wrong(files, SETTINGS, f"truncate_dim is {size!r}", "Set it to a number of dimensions")
    similarity = config.get("similarity_fn_name")
    if similarity is not None and similarity not in SIMILARITIES:
        reason = f"similarity_fn_name is {similarity!r}"
        raise _wrong(files, SETTINGS, reason, f"Allowed are {', '.join(SIMILARITIES)}")
    return None if similarity is None else str(similarity)


def _joined(folder: str, name: str) -> str:
    """Return the path of a file in a folder of the model, with `/`."""
    return str(PurePosixPath(folder, name))


def _wrong(files: ModelFiles, name: str, reason: str, advice: str) -> ModelError:
    """Return the error for an entry of a model's file: its path, the reason, and the advice."""
    path: Any = find_file(files, name) or f"{files.name}/{name}"
    return ModelError(f"{path}: {reason}. {advice}.")
