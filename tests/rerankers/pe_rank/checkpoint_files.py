"""The golden PE-Rank model, loaded from its files, and the order that it gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rerankers.pe_rank.formats.checkpoint import Checkpoint, Source, load_checkpoint
from rerankers.pe_rank.formats.manifest import EncoderEntry, LLMEntry, Manifest
from rerankers.pe_rank.greedy import plain_order

FOLDER = Path(__file__).parents[2] / "golden" / "pe_rank" / "mistral"


CASE: dict[str, Any] = json.loads((FOLDER / "golden.json").read_text())["cases"][1]  # seven passages


def load(model: Path | str, **options: Any) -> Checkpoint:
    source = Source(
        model=str(model),
        revision=None,
        encoder=options.get("encoder"),
        encoder_revision=None,
        pooling=options.get("pooling", "auto"),
        projector=options.get("projector"),
        allow_encoder_swap=options.get("allow_encoder_swap", False),
    )
    return load_checkpoint(source, dtype="float32", device="cpu", attention="auto")


def order(checkpoint: Checkpoint) -> list[int]:
    prompt = checkpoint.llm.writer.write(CASE["query"], len(CASE["passages"]))
    return plain_order(
        checkpoint.llm, prompt, checkpoint.llm.project(checkpoint.encoder.encode(CASE["passages"]))
    )


def manifest(base: Path, **encoder: Any) -> Manifest:
    used: dict[str, Any] = {"model": str(FOLDER / "encoder"), "pooling": "mean", "dimension": 32, **encoder}
    return Manifest(llm=LLMEntry(model=str(base)), encoder=EncoderEntry(**used), projector="mlp2x_gelu")
