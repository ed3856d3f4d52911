"""Pieces of work run side by side on a CPU's cores, and leave torch as they found it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import torch

from rerankers.models.side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_keep_the_order_and_torch_its_threads() -> None:
    barrier = threading.Barrier(2, timeout=60)  # broken if both do not run at once

    def work(item: int) -> tuple[int, int, bool]:
        if item < 2:
            barrier.wait()
        return item, torch.get_num_threads(), torch.is_inference_mode_enabled()

    assert side_by_side(work, range(5), CPU) == [(item, 1, True) for item in range(5)]
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("items", "device"), [([], "cpu"), ([7], "cpu"), ([7, 8, 9], "meta")])
def test_where_nothing_is_gained_this_thread_does_it(items: list[int], device: str) -> None:
    here = threading.get_ident()
    results = side_by_side(lambda item: (item, threading.get_ident()), items, torch.device(device))
    assert results == [(item, here) for item in items]


def test_an_error_is_the_callers_and_torch_keeps_its_threads() -> None:
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda item: 1 // item, [1, 0, 1], CPU)
    assert torch.get_num_threads() == 2
