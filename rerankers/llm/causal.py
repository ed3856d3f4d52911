"""The loading of a causal language model and its tokenizer from a hub id, a folder or a wheel.

A LoRA adapter in PEFT's format is loaded on its base model and merged; see `rerankers.llm.adapter`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, Unpack

from rerankers.models.devices import AttentionName, DtypeName, resolve_device, resolve_dtype
from rerankers.models.folder import check_hub_model
from rerankers.models.loading_report import load_complete
from rerankers.models.locate import find_model
from rerankers.models.remote_code import loading
from rerankers.models.vocabulary import check_rows, load_tokenizer

if TYPE_CHECKING:
    import torch

    from rerankers.methods.chat import ChatOptions
    from rerankers.methods.loaded import PassMode, PassOptions


class NetworkOptions(TypedDict, total=False):
    """The options by which a network is loaded.

    Attributes:
        revision: hub revision (branch, tag or commit); None, the default, is the main branch.
        device: `auto`, the default, `cpu`, `cuda` or `cuda:N`.
        dtype: of the weights; `auto`, the default, is bfloat16 on CUDA, float32 on a CPU.
        attention: transformers' attention implementation; `auto`, the default, lets transformers choose.
    """

    revision: str | None
    device: str
    dtype: DtypeName
    attention: AttentionName


class _Stated(Protocol):
    """Options or settings that state how a network is loaded, its device apart."""

    @property
    def revision(self) -> str | None: ...
    @property
    def dtype(self) -> DtypeName: ...
    @property
    def attention(self) -> AttentionName: ...


def network_options(stated: _Stated, device: str) -> NetworkOptions:
    """Return the options by which the network that a method's options or settings name is loaded."""
    return {
        "revision": stated.revision,
        "device": device,
        "dtype": stated.dtype,
        "attention": stated.attention,
    }


class CausalLM:
    """A causal LM in evaluation mode with its tokenizer.

    Args:
        model: hub id, folder or wheel of a model or of a LoRA adapter; see `rerankers.models.locate`.
        options: revision, device, dtype and attention.

    Attributes:
        model: the transformers model.
        tokenizer: its tokenizer, padding on the left.
        device: the device of the weights.
        exactness: the ways in which prompts may be read together.
        passes: its forward passes; those of transformers, unless `use_passes` chooses others.

    Raises:
        InputError: no such folder or device.
        ModelError: the files do not load, or a weight is missing or surplus.
    """

    def __init__(self, model: str, **options: Unpack[NetworkOptions]) -> None:
        from transformers import AutoModelForCausalLM

        from rerankers.llm.exactness import Exactness
        from rerankers.llm.passes import EagerPasses, Passes

        loaded = load_network(AutoModelForCausalLM, model, **options)
        self.device: torch.device = loaded.device
        self.tokenizer: Any = loaded.tokenizer
        self.model: Any = loaded.network
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token or self.tokenizer.convert_ids_to_tokens(0)
        self.exactness = Exactness(self.model, self.tokenizer)
        self.passes: Passes = EagerPasses(self.model)
        self._described = loaded.described

    @classmethod
    def of(cls, options: PassOptions | ChatOptions, *, decodes: bool) -> CausalLM:
        """Load the model that a method's options name, with their revision, device, dtype, attention and
        forward passes.

        Args:
            options: the options.
            decodes: whether the method decodes, token after token, or only reads prompts.
        """
        llm = cls(options.model, **network_options(options, options.device))
        llm.use_passes(options.forward_passes, decodes=decodes)
        return llm

    def use_passes(self, mode: PassMode, *, decodes: bool) -> None:
        """Choose the forward passes, and name them in the record's entry.

        Call it before the vocabulary's projection is changed. See `rerankers.llm.passes.choose_passes`.

        Raises:
            ModelError: static passes are asked for, and the model has none.
        """
        from rerankers.llm.passes import choose_passes

        name = str(self._described["model"])
        self.passes, self._described["forward_passes"] = choose_passes(
            self.model, mode, name, decodes=decodes
        )

    def describe(self) -> dict[str, object]:
        """Return the record's entry: name, version, dtype, attention implementation and parameter count."""
        return dict(self._described)


@dataclass(frozen=True, slots=True)
class LoadedNetwork:
    """A network of transformers in evaluation mode, on its device, without gradients.

    Attributes:
        network: the transformers model.
        tokenizer: its tokenizer.
        device: the device of the weights.
        described: name, revision or fingerprint, dtype, attention implementation and parameter count.
    """

    network: Any
    tokenizer: Any
    device: torch.device
    described: dict[str, object]


def load_network(architecture: Any, model: str, **options: Unpack[NetworkOptions]) -> LoadedNetwork:
    """Return a network with its tokenizer, its weights complete; no code of the model's own is run.

    A LoRA adapter is merged into its base model.

    Args:
        architecture: an object with `from_pretrained`: a class of transformers, or one derived from it. Its
            attribute `network_config` replaces a configuration that transformers does not know.
        model: hub id, folder or wheel of a model or of an adapter.
        options: revision, device, dtype and attention.

    Raises:
        InputError: no such folder or device.
        ModelError: the files do not load, or a weight is missing or surplus.
    """
    from rerankers.llm.adapter import find_adapter, merge_adapter

    named = find_model(model, options.get("revision"))
    where = resolve_device(options.get("device", "auto"))
    attention = options.get("attention", "auto")
    how = {"attn_implementation": attention} if attention != "auto" else {}
    with loading("language model", model):
        adapter = find_adapter(named)
        files = named if adapter is None else adapter.base
        check_hub_model(files)
        source = {"gguf_file": files.gguf_file} if files.gguf_file else {}
        tokenizer: Any = load_tokenizer(
            files if adapter is None else adapter.files_of_tokenizer(),
            getattr(architecture, "network_config", None),
        )
        load = partial(
            architecture.from_pretrained,
            files.location,
            revision=files.revision or "main",
            trust_remote_code=False,
            dtype=resolve_dtype(options.get("dtype", "auto"), where),
            **source,
            **how,
        )
        network = load_complete(files.name, load)
        if adapter is not None:
            merge_adapter(network, named)
        check_rows(model, tokenizer, network)
    network = network.to(where).eval().requires_grad_(False)
    commit = getattr(network.config, "_commit_hash", None) or files.fingerprint
    described: dict[str, object] = {
        "model": model,
        "revision": commit if adapter is None else adapter.version(),
        **({} if adapter is None else {"base_model": files.name, "base_revision": commit}),
        "dtype": str(network.dtype).removeprefix("torch."),
        "attention": network.config._attn_implementation,
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "device": str(where),
    }
    return LoadedNetwork(network, tokenizer, where, described)
