"""Items of work run in parallel: on a CPU, a share of the cores each is faster than all cores in turn.

Matrix products of a few hundred rows, split over cores, wait for each other at every step, and the operations
between them run on one core alone. A GPU gains nothing from it: there one larger batch does the same.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

_MOST = 8  # threads of Python; more wait for each other in Python itself

Item = TypeVar("Item")
Result = TypeVar("Result")


def threads_for(device: torch.device, pieces: int) -> int:
    """Return the number of threads to run items of work in.

    On a CPU it is torch's number of threads, but at most the number of items and at most eight; else one.

    Args:
        device: the device that computes.
        pieces: the number of items.
    """
    import torch

    return max(1, min(pieces, torch.get_num_threads(), _MOST)) if device.type == "cpu" else 1


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], device: torch.device) -> list[Result]:
    """Return the result of a function for each item, in the order of the items.

    On a CPU, items run in several threads, each with its share of the cores; where that gains nothing, in a
    loop in this thread. The function runs without gradients.

    Args:
        work: the function.
        items: its arguments.
        device: the device that computes.
    """
    import torch

    @torch.inference_mode()
    def quietly(item: Item) -> Result:
        """Return the result of `work` for an item, without gradients."""
        return work(item)

    workers = threads_for(device, len(items))
    if workers == 1:
        return [quietly(item) for item in items]
    threads = torch.get_num_threads()
    try:
        threads_each = (threads // workers,)
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=threads_each) as pool:
            return list(pool.map(quietly, items))
    finally:
        torch.set_num_threads(threads)  # part of torch's setting belongs to the process
