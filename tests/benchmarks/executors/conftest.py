"""The working folder of experiments on a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.executors.shuffling import MINE

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, with a reranker of its own in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path
