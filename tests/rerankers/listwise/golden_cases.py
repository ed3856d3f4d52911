"""Golden cases of the published codes, and what is compared with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rerankers import RerankRequest

if TYPE_CHECKING:
    from rerankers import Ranking

TOLERANCE = 1e-5
TEXTS = [
    "A beekeeper checks every hive.",
    "An old lighthouse warns sailors.",
    "",
    "A desert fox hunts beetles.",
]


def read_golden(name: str) -> tuple[Path, dict[str, Any]]:
    """Return the folder of a small checkpoint, and what the published code makes of it."""
    folder = Path(__file__).parents[2] / "golden" / name
    return folder, json.loads((folder / "golden.json").read_text(encoding="utf-8"))


def request_of(query: str, passages: list[str]) -> RerankRequest:
    """Return a request whose doc ids are the passages' positions."""
    return RerankRequest.of(query, {str(i): text for i, text in enumerate(passages)})


def scores_by_position(ranking: Ranking) -> torch.Tensor:
    """Return the scores of a ranking whose doc ids are positions, in the order of positions."""
    scores = dict(zip(map(int, ranking.doc_ids), ranking.scores, strict=True))
    return torch.tensor([scores[i] for i in range(len(scores))])
