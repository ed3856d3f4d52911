"""Fixtures that the benchmarks share: the recorded figures, and the number of threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from benchmarks.micro.ratios.recording import measured, pytest_addoption, pytest_terminal_summary

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["measured", "pytest_addoption", "pytest_terminal_summary", "two_threads"]


@pytest.fixture(scope="module")
def two_threads() -> Iterator[None]:
    """Limit torch to two threads while a module's benchmarks run."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
