"""Copies between host and device: the only places where one of them may wait for the other.

`to_device` never makes the host wait. `read_back` and `read_array` do, for one event on the device's queue; a
caller that uses them in a loop says so. Reading a tensor in any other way (`.item()`, `.tolist()`, `bool()`)
is a hidden wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import numpy.typing as npt


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a copy of a CPU tensor on the device, without waiting for it; on a CPU the tensor itself."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def read_back(tensor: torch.Tensor) -> list[int]:
    """Return the values of a small integer tensor as a flat list; wait until the device has computed them."""
    values: list[int] = read_array(tensor).flatten().tolist()
    return values


def read_array(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """Return a copy of a tensor as an array, on a CPU a view; wait until the device has computed it."""
    if tensor.device.type == "cuda":
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        host.copy_(tensor, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record()
        done.synchronize()
        tensor = host
    array: npt.NDArray[Any] = tensor.numpy()
    return array
