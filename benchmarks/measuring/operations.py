"""Counts of FLOPs and bytes by stage: the work of a ranking on any hardware, from a pass that is not timed.

FLOPs are torch's own count (`torch.utils.flop_counter`): matrix products, convolutions and attention, a
multiplication and an addition being two; element-wise operators are not among them. Attention counts whole,
as if nothing were masked. Bytes are the sizes of what each operator reads and writes, views left out, so a
fused kernel or a cache moves less than they say. Together they tell compute-bound stages from stages that
wait for memory, as in the roofline model (Williams, Waterman and Patterson, CACM 2009).
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from benchmarks.results.record import Operations
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rerankers.interface import Reranker, RerankRequest
    from rerankers.stages import Stage, Timed

_LOOKUPS = {"embedding", "index_select", "gather", "index"}  # of their tables they read what they return


def count_operations(reranker: Reranker, requests: Sequence[RerankRequest]) -> Operations:
    """Rank requests one by one, and return the FLOPs and bytes of all of them together, by stage.

    It runs on one core: torch counts in the thread that asked for it, and work that is split over cores
    happens in others.
    """
    clock = CountingClock()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for request in requests:
            reranker.rerank([request], clock)
    finally:
        torch.set_num_threads(threads)
    return Operations(queries=len(requests), flops=dict(clock.flops), bytes=dict(clock.bytes))


class CountingClock(StageClock):
    """A stage clock that counts torch's FLOPs and bytes in each stage; its seconds mean nothing.

    Attributes:
        flops: FLOPs so far, by stage.
        bytes: bytes read and written so far, by stage.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops: dict[Stage, int] = {}
        self.bytes: dict[Stage, int] = {}

    @contextmanager
    def stage(self, name: Stage, *costs: Timed) -> Iterator[None]:
        """Count the block's FLOPs and bytes under the stage's name; a stage without any is left out."""
        traffic = _Traffic()
        flops = FlopCounterMode(display=False, custom_mapping=_CPU_KERNELS)
        with super().stage(name, *costs), traffic, flops:  # the last one entered resolves composite operators
            yield
        for counts, count in ((self.flops, flops.get_total_flops()), (self.bytes, traffic.bytes)):
            if count:
                counts[name] = counts.get(name, 0) + count


_CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def _cpu_attention(
    query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], *_: object, **__: object
) -> int:
    # torch knows the kernels of GPUs only, and leaves this untyped
    """Return the FLOPs of an attention kernel on the CPU from the shapes of query, key and value."""
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call, unused-ignore]


def _packed_linear(values: tuple[int, ...], weight: tuple[int, ...], *_: object, **__: object) -> int:
    """Return the FLOPs of oneDNN's linear layer from the shapes of its input and its weight."""
    return 2 * math.prod(values) * weight[0]


_CPU_KERNELS = {_CPU_ATTENTION: _cpu_attention, torch.ops.mkldnn._linear_pointwise: _packed_linear}


class _Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call, misc, unused-ignore]
    """A dispatch mode that adds up the sizes of the tensors that torch's operators read and write.

    Attributes:
        bytes: the sum so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        returns = func._schema.returns
        if any(argument.alias_info is not None and not argument.alias_info.is_write for argument in returns):
            return out  # a view
        written = _sizes(out)
        name = func._schema.name.removeprefix("aten::")
        self.bytes += written + (written if name in _LOOKUPS else _sizes((args, kwargs)))
        return out


def _sizes(values: Any) -> int:
    """Return the bytes of all tensors in nested values; an expanded tensor counts as large as its storage."""
    tensors = (leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor))
    return sum(map(_size, tensors))


def _size(tensor: torch.Tensor) -> int:
    """Return the bytes of a tensor; an expanded one counts as large as its storage."""
    size = tensor.numel() * tensor.element_size()
    if tensor.is_mkldnn:  # weights in oneDNN's layout, whose storage torch does not see
        return size
    return min(size, tensor.untyped_storage().nbytes())
