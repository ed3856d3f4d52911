"""Device, dtype and attention choices, made in one place so that every method resolves `auto` alike.

torch is imported by the functions that need it: the names alone are read wherever options are checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

DtypeName = Literal["auto", "float32", "bfloat16", "float16"]
AttentionName = Literal["auto", "eager", "sdpa", "flash_attention_2"]


def resolve_device(name: str) -> torch.device:
    """Return the device of a name such as `cpu` or `cuda:0`; `auto` is CUDA where there is one, else the CPU.

    Raises:
        InputError: CUDA was asked for and there is none.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {name!r} was asked for but torch sees no CUDA device; use device: cpu")
    return device


def resolve_dtype(name: DtypeName, device: torch.device) -> torch.dtype:
    """Return the dtype of a name; `auto` is bfloat16 on CUDA and float32 on a CPU.

    Most CPUs emulate half precision.
    """
    import torch

    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def synchroniser(device: str) -> Callable[[], None]:
    """Return a function that waits until a device has no queued work; on a CPU it does nothing."""
    import torch

    if torch.device(device).type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None
