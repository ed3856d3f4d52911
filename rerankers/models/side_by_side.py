"""Pieces of work side by side: on a CPU, cores for each are faster than all cores for one after the other.

Matrix products of a few hundred rows, split over cores, wait for each other at every step, and what lies
between them runs on one core alone. A GPU gains nothing from it: there one larger batch does the same.
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
    """Return the number of threads for `pieces` pieces of work: on a CPU as many as torch has,
    up to eight; else one.
    """
    import torch

    return max(1, min(pieces, torch.get_num_threads(), _MOST)) if device.type == "cpu" else 1


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], device: torch.device) -> list[Result]:
    """Do `work` on every item, each on its share of the cores as one gets free; results in order.

    Where there is nothing to gain it is a plain loop in this thread. `work` runs without gradients.
    """
    import torch

    @torch.inference_mode()
    def quietly(item: Item) -> Result:
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
