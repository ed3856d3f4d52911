"""LoRA adapters of classifiers, in PEFT's format: loaded on their base model and merged into it.

A folder holds `adapter_config.json`, the adapter's weights and often the classifier's head, but no
`config.json`. RankLLaMA (arXiv 2310.08319) is published in this form. PEFT computes the merge. The weights of
the base and of the adapter each pass the gate of `rerankers.models.loading_report`.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rerankers.errors import InputError, MissingExtraError, ModelError
from rerankers.models.loading_report import ADAPTER_CONFIG, WHOLE_MODELS, refuse_adapter, refuse_misfits
from rerankers.models.locate import ModelFiles, find_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_PEFT = "base_model.model."
_HEADS = r"(score|classifier|classification_head)\."


@dataclass(frozen=True, slots=True)
class ClassifierAdapter:
    """A LoRA adapter of a classifier, and the base model that it belongs to.

    Attributes:
        files: the location of the adapter's files.
        base: the location of its base model's files.
        weights: the adapter's weights by PEFT's names.
    """

    files: ModelFiles
    base: ModelFiles
    weights: Mapping[str, torch.Tensor]

    @property
    def brings(self) -> str | None:
        """A pattern of weights that the base model may lack because the adapter has them: those of the head.

        None if the adapter has no head.
        """
        return f"^{_HEADS}" if self._head() else None

    def _head(self) -> list[torch.Tensor]:
        """Return the weight matrices of the adapter's classifier head, sorted by name.

        The rows of the last one are the classes.
        """
        names = [name for name in self.weights if re.match(_HEADS, name.removeprefix(_PEFT))]
        return [self.weights[n] for n in sorted(names) if self.weights[n].ndim == 2 and "lora_" not in n]

    def load(
        self,
        location: str,
        *,
        max_length: int | None,
        device: str,
        revision: str | None,
        trust_remote_code: bool,
        model_kwargs: Mapping[str, Any],
    ) -> Any:
        """Return a `CrossEncoder` of the base model, with the adapter merged into it.

        Args:
            location: a hub id or folder of the base model.
            max_length: longest pair in tokens; None for the tokenizer's own.
            device: the device that it runs on.
            revision: the base model's revision on the hub.
            trust_remote_code: refused if true.
            model_kwargs: further arguments of transformers' `from_pretrained`.

        Raises:
            InputError: remote code is asked for.
            ModelError: base and adapter do not fit.
        """
        from sentence_transformers import CrossEncoder
        from sentence_transformers.base.modules import Transformer
        from torch.nn import Identity

        from rerankers.encoders.recipe import read_json

        if trust_remote_code:
            raise InputError(f"{self.files.name!r} is an adapter; the code of its base model is never run")
        hub: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
        head = self._head()
        length = {} if max_length is None else {"model_max_length": max_length}
        module = Transformer(
            location,
            transformer_task="sequence-classification",
            model_kwargs={**hub, **model_kwargs},
            processor_kwargs={**hub, **length},
            config_kwargs={**hub, **({"num_labels": len(head[-1])} if head else {})},
        )
        stated = read_json(self.files, "config_sentence_transformers.json")
        encoder = CrossEncoder(
            modules=[module],
            device=device,
            activation_fn=Identity(),
            prompts=stated.get("prompts"),
            default_prompt_name=stated.get("default_prompt_name"),
        )
        self._take_tokenizer(encoder)
        module.model = self._merged(module.model).to(device)
        return encoder

    def _take_tokenizer(self, encoder: Any) -> None:
        """Replace an encoder's tokenizer by the adapter's, if its folder has one.

        Raises:
            ModelError: it has more tokens than the base model has embeddings.
        """
        from rerankers.models.model_files import find_file
        from rerankers.models.vocabulary import load_tokenizer

        if find_file(self.files, "tokenizer_config.json") is None:
            return
        length = encoder.tokenizer.model_max_length
        encoder.tokenizer = load_tokenizer(self.files, encoder.model.config)
        encoder.tokenizer.model_max_length = min(length, encoder.tokenizer.model_max_length)
        rows = encoder.model.get_input_embeddings().num_embeddings
        if len(encoder.tokenizer) > rows:
            raise ModelError(
                f"{self.files.name!r} has {len(encoder.tokenizer)} tokens, but {self.base.name!r} has "
                f"{rows}. Merge the adapter into its base model with PEFT, and name the result."
            )

    def _merged(self, network: Any) -> Any:
        """Return the base network with the adapter's weights merged into its own.

        Args:
            network: the base model's network, of transformers.

        Raises:
            ModelError: weights of the adapter are missing, surplus or of another shape.
        """
        from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

        folder = _folder_of(self.files)
        with warnings.catch_warnings():  # PEFT reads an attribute that newer versions of transformers renamed
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            wrapped: Any = get_peft_model(network, LoraConfig.from_pretrained(folder))
        expected = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
        tensors = {
            _plain(name): weight for name, weight in self.weights.items() if "original_module" not in name
        }
        architecture = f"adapter on a {type(network).__name__}"
        refuse_misfits(
            self.files.name,
            expected.keys() - tensors.keys(),
            tensors.keys() - expected.keys(),
            architecture=architecture,
        )
        for name in expected:
            if expected[name].shape != tensors[name].shape:
                raise ModelError(
                    f"{self.files.name!r}: the weight {name!r} has the shape {tuple(tensors[name].shape)}, "
                    f"but {self.base.name!r} needs {tuple(expected[name].shape)}. Name the right base model."
                )
        set_peft_model_state_dict(wrapped, tensors)
        return wrapped.merge_and_unload()

    def describe(self) -> dict[str, object]:
        """Return the record's entry on the adapter: its name, and its fingerprint or commit."""
        commit = None if self.files.is_local else _folder_of(self.files).rpartition("/")[2]
        return {"model": self.files.name, "revision": self.files.fingerprint or commit}


def find_adapter(files: ModelFiles) -> ClassifierAdapter | None:
    """Return the adapter that a model's files hold; None where they hold none.

    Raises:
        InputError: no such base model.
        MissingExtraError: PEFT is not installed.
        ModelError: the adapter is of another kind, names no base model, has no weights, or lies beside a
            whole model.
    """
    from rerankers.encoders.recipe import read_json
    from rerankers.encoders.weights import read_weights
    from rerankers.models.model_files import find_file

    config = read_json(files, ADAPTER_CONFIG)
    if not config:
        return None
    if any(find_file(files, name) for name in WHOLE_MODELS):
        refuse_adapter(files)
    kind, task, base = (config.get(key) for key in ("peft_type", "task_type", "base_model_name_or_path"))
    if kind != "LORA" or task not in ("SEQ_CLS", None):
        raise ModelError(
            f"{files.name!r} is a {kind} adapter for {task}; a cross-encoder takes LORA for SEQ_CLS. "
            "Merge it into its base model with PEFT, and name the result."
        )
    if config.get("megatron_config") is not None:  # PEFT would import the module that `megatron_core` names
        raise ModelError(
            f"{files.name!r}: {ADAPTER_CONFIG} states megatron_config, which is not imported. Remove it."
        )
    if not isinstance(base, str) or not base:
        raise ModelError(f"{files.name!r}: base_model_name_or_path is {base!r}. Set it to the base model.")
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"the adapter {files.name!r}", "train") from error
    paths = [path for name in _WEIGHTS if (path := find_file(files, name)) is not None]
    if not paths:
        raise ModelError(f"{files.name!r} has {ADAPTER_CONFIG} but neither {' nor '.join(_WEIGHTS)}.")
    return ClassifierAdapter(files, find_model(base, config.get("revision")), read_weights(paths[0]))


def _plain(name: str) -> str:
    """Return a weight's name as PEFT writes it today, from the longer name of older versions."""
    return name.replace(".modules_to_save.", ".").replace(".default.", ".")


def _folder_of(files: ModelFiles) -> str:
    """Return the path of the folder that holds an adapter's `adapter_config.json`, fetched if need be.

    Raises:
        ModelError: the file no longer exists.
    """
    from rerankers.models.model_files import find_file

    path = find_file(files, ADAPTER_CONFIG)
    if path is None:
        raise ModelError(f"{files.name!r} has no {ADAPTER_CONFIG} any more")
    return str(path.parent)
