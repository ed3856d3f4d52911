"""Sets which parameters of a language model learn: none, those of a LoRA adapter by PEFT, or all."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from rerankers.errors import InputError, MissingExtraError, ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from rerankers.llm.causal import CausalLM
    from rerankers.training.settings import LoRASettings, TrainingSettings


def set_to_learn(
    base: CausalLM, settings: TrainingSettings, start: Path | None, *, checkpointing: bool
) -> tuple[Any, StepMerger | None]:
    """Freeze or unfreeze a language model's parameters as `tune` says, with an adapter around it for `lora`.

    Args:
        base: the language model.
        settings: `tune` and `lora`.
        start: folder of the adapter to go on with; None for a fresh one.
        checkpointing: compute activations again in the backward pass.

    Returns:
        The model, wrapped by PEFT where there is an adapter, and the object that merges that adapter once a
        step
        (None unless `lora.merge_per_step`).

    Raises:
        InputError: merging once a step is asked for where it would round.
        MissingExtraError, ModelError: as `add_adapter`.
    """
    llm, merger = base.model, None
    if settings.tune == "lora":
        llm = add_adapter(llm, settings.lora, start)
        if settings.lora.merge_per_step:
            if settings.optimizer.bf16 or base.model.dtype != torch.float32:
                raise InputError("lora.merge_per_step needs float32 weights and no bf16: merging rounds")
            merger = StepMerger(llm)
    elif settings.tune == "full":
        llm.requires_grad_(True)
    if checkpointing:
        base.model.activation_checkpointing_enable({"use_reentrant": False})
    return llm, merger


def add_adapter(llm: Any, settings: LoRASettings, start: Path | None, task: str = "CAUSAL_LM") -> Any:
    """Return a language model wrapped by PEFT with a LoRA adapter: a fresh one, or that in folder `start`.

    Args:
        llm: a causal LM, or a decoder without a vocabulary head.
        settings: of the adapter.
        start: its folder, if there is one.
        task: PEFT's name of what the model does.

    Raises:
        MissingExtraError: PEFT is not installed.
        ModelError: the adapter in `start` is of another shape than the settings say.
    """
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError("training a LoRA adapter", "train") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers by an old name
        lora_config = peft.LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=settings.target_modules,
            task_type=task,
        )
        if start is None:
            return peft.get_peft_model(llm, lora_config)
        wrapped: Any = peft.PeftModel.from_pretrained(llm, str(start), is_trainable=True)
    loaded_config = wrapped.peft_config["default"]
    target_names = set(settings.target_modules) if isinstance(settings.target_modules, list) else None
    if (loaded_config.r, loaded_config.lora_alpha) != (settings.rank, settings.alpha) or (
        target_names is not None and set(loaded_config.target_modules) != target_names
    ):
        raise ModelError(
            f"the adapter in {str(start)!r} has rank {loaded_config.r}, alpha {loaded_config.lora_alpha} and "
            f"{', '.join(sorted(loaded_config.target_modules))}; set lora: to the same"
        )
    for module in wrapped.modules():
        if hasattr(module, "lora_dropout"):
            module.lora_dropout["default"] = (
                nn.Dropout(settings.dropout) if settings.dropout else nn.Identity()
            )
    return wrapped


class _MergedLinear(torch.autograd.Function):
    """A linear layer with a merged LoRA weight, for autograd: x W'ᵀ with W' = W + s B A.

    The backward pass gives the gradients of x, A and B, and never makes the gradient of W'.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, merged: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float
    ) -> torch.Tensor:
        ctx.save_for_backward(x, merged, a, b)
        ctx.scale = scale
        return F.linear(x, merged)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, merged, a, b = ctx.saved_tensors
        flat_grad, flat_x = grad.flatten(0, -2), x.flatten(0, -2)  # (tokens, out), (tokens, in)
        low = flat_grad @ b  # (tokens, rank)
        grad_a = ctx.scale * (low.T @ flat_x)
        grad_b = ctx.scale * (flat_grad.T @ (flat_x @ a.T))
        grad_x = grad @ merged if ctx.needs_input_grad[0] else None
        return grad_x, None, grad_a, grad_b, None


class StepMerger:
    """Merges a LoRA adapter into a copy of the weights, so that each adapted layer computes one product.

    Args:
        wrapped: PEFT's model, its adapter without dropout.
    """

    def __init__(self, wrapped: Any) -> None:
        self._layers = [module for module in wrapped.modules() if hasattr(module, "lora_A")]
        for layer in self._layers:
            layer.forward = _merged_forward(layer)

    @property
    def addresses(self) -> set[int]:
        """Memory addresses of the merged weights."""
        return {weight.untyped_storage().data_ptr() for weight in self._merged_weights()}

    @property
    def nbytes(self) -> int:
        """Bytes of the merged weights."""
        return sum(weight.nbytes for weight in self._merged_weights())

    def _merged_weights(self) -> list[torch.Tensor]:
        """Return the merged weight of each layer that has one."""
        return [layer.merged_weight for layer in self._layers if hasattr(layer, "merged_weight")]

    @torch.no_grad()
    def merge(self) -> None:
        """Compute every layer's merged weight from the adapter as it is now."""
        for layer in self._layers:
            a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            weight = layer.base_layer.weight
            merged = getattr(layer, "merged_weight", None)
            if merged is None:
                merged = layer.merged_weight = torch.empty_like(weight)
            torch.addmm(weight, b, a, alpha=layer.scaling["default"], out=merged)


def _merged_forward(layer: Any) -> Any:
    """Return a forward function for an adapted layer that uses its merged weight and its bias."""

    def forward(x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = _MergedLinear.apply(  # type: ignore[no-untyped-call]
            x,
            layer.merged_weight,
            layer.lora_A["default"].weight,
            layer.lora_B["default"].weight,
            layer.scaling["default"],
        )
        bias = layer.base_layer.bias
        return result if bias is None else result + bias

    return forward
