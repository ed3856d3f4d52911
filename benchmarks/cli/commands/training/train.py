"""`rerankbench train`: the command that groups all training commands."""

from __future__ import annotations

from benchmarks.cli.command import Command
from benchmarks.cli.commands.training.align_data import ALIGN_DATA
from benchmarks.cli.commands.training.export import EXPORT
from benchmarks.cli.commands.training.shrink import SHRINK
from benchmarks.cli.commands.training.stages import STAGES

TRAIN = Command(
    name="train",
    summary="train a reranker: PE-Rank, the same language model on text, a cross-encoder, or E2Rank",
    examples=(
        "query warm-up.yaml --out runs/warm-up",
        "rank rank.yaml --set init_from=runs/warm-up/best optimizer.max_steps=2000",
        "shrink runs/rank/best --rank 4 --out pe-rank-small",
    ),
    note="on several devices (DDP, FSDP, DeepSpeed: as `accelerate config` says):\n"
    "  accelerate launch -m benchmarks.cli train rank rank.yaml",
    commands=(*STAGES, SHRINK, EXPORT, ALIGN_DATA),
)
