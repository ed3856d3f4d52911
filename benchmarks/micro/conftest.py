"""Fixtures that the benchmarks share: the recorded figures, and the number of threads."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import torch

from benchmarks.micro.ratios.recording import measured, pytest_addoption, pytest_terminal_summary

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["measured", "one_thread", "pytest_addoption", "pytest_terminal_summary", "two_threads"]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Limit torch to some threads for the `with` block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Limit torch to one thread while a module's benchmarks run."""
    with _threads(1):
        yield


@pytest.fixture(scope="module")
def two_threads() -> Iterator[None]:
    """Limit torch to two threads while a module's benchmarks run."""
    with _threads(2):
        yield
