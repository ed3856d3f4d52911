"""Estimates a training's memory on one device, from one and two sequences tried before it starts.

Weights, gradients and AdamW's two moments are counted. Activations are what a forward pass keeps for the
backward pass: PyTorch is asked for every tensor that it saves, with one and with two copies of the longest
sequence, and a batch is extrapolated from both. What a layer needs for a moment, the vocabulary of a loss and
the allocator's gaps are not in it: expect some more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import torch

from rerankers.training.trainer import same_random_numbers

if TYPE_CHECKING:
    from rerankers.training.setup import Setup

_MOMENTS = 2  # of AdamW


@dataclass(frozen=True, slots=True)
class Memory:
    """The bytes that a training needs on one device, by what they hold.

    Attributes:
        weights: of the language model, its adapter and the projector.
        gradients: of what is trained.
        optimizer: AdamW's moments.
        activations: what the largest batch keeps for the backward pass.
        available: what the device has left now, with the weights loaded.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    available: int

    @property
    def total(self) -> int:
        """Bytes of weights, gradients, optimizer and activations together."""
        return self.weights + self.gradients + self.optimizer + self.activations

    @property
    def is_too_much(self) -> bool:
        """True if gradients, optimizer and activations exceed the memory that is available."""
        return self.total - self.weights > self.available

    def __str__(self) -> str:
        parts = (
            f"weights {_size(self.weights)}, gradients {_size(self.gradients)}, optimizer "
            f"{_size(self.optimizer)}, activations {_size(self.activations)}"
        )
        return f"memory: at least {_size(self.total)} ({parts}); {_size(self.available)} are free now"


def expected_memory(setup: Setup, device: torch.device) -> Memory:
    """Return the bytes that a training needs if all records of a batch are as long as the longest one.

    It runs the model on one and on two copies of that record. The model and random numbers stay as they were.
    """
    batch_size, merger = setup.settings.optimizer.batch_size, getattr(setup.model, "merger", None)
    with same_random_numbers():
        one, two = (_saved_bytes(setup, count, device) for count in (1, 2))
    weights = list(setup.model.parameters())
    trained = sum(weight.nbytes for weight in weights if weight.requires_grad)
    return Memory(
        weights=sum(weight.nbytes for weight in weights) + (0 if merger is None else merger.nbytes),
        gradients=trained,
        optimizer=_MOMENTS * trained,
        activations=max(one, one + (batch_size - 1) * (two - one)),
        available=_available(device),
    )


def _saved_bytes(setup: Setup, count: int, device: torch.device) -> int:
    """Return the bytes, without weights, that a forward pass of `count` longest records keeps."""
    model, longest = setup.model, setup.visits.longest()
    batch = {name: value.to(device) for name, value in setup.collator([(0, longest)] * count).items()}
    storages: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        """Note the storage of a tensor that PyTorch saves for the backward pass, and return the tensor."""
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    was_training = model.training
    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = model(**batch)
    model.train(was_training)
    merger = getattr(model, "merger", None)
    weight_addresses = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    weight_addresses |= set() if merger is None else merger.addresses
    saved: int = sum(
        storage.nbytes() for address, storage in storages.items() if address not in weight_addresses
    )
    del outputs
    return saved + _checkpointed_bytes(model, batch)


def _checkpointed_bytes(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> int:
    """Return the bytes of the layer inputs that activation checkpointing keeps for a batch.

    0 if it is off.
    """
    checkpointed = [
        module for module in model.modules() if getattr(module, "is_activation_checkpointing", False)
    ]
    if not checkpointed:
        return 0
    config: Any = checkpointed[0].config
    tokens = sum(
        batch[name].numel() for name in ("token_ids", "text_token_ids", "input_ids") if name in batch
    )
    width = config.hidden_size * next(checkpointed[0].parameters()).element_size()
    return int(config.num_hidden_layers * tokens * width)


def _available(device: torch.device) -> int:
    """Return the bytes that the device has free."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    return int(psutil.virtual_memory().available)


def _size(count: int) -> str:
    """Return bytes as people write them: `512 MB`, `14.5 GB`."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
