"""`rerankbench train shrink`: cuts a checkpoint's adapter to a lower rank."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.command import Command

if TYPE_CHECKING:
    import argparse


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a checkpoint with an adapter")
    parser.add_argument("--rank", type=int, required=True, metavar="R", help="rank to keep")
    parser.add_argument("--dtype", choices=("float16", "bfloat16", "float32"), default="float16")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")


def _run(options: argparse.Namespace) -> int:
    """Write the smaller checkpoint, print its size and return exit status 0."""
    import torch

    from rerankers.training.export import truncate_adapter

    truncate_adapter(options.checkpoint, options.out, options.rank, getattr(torch, options.dtype))
    size = sum(path.stat().st_size for path in options.out.iterdir()) / 1e6
    print(f"{options.out}: {size:.1f} MB, adapter of rank {options.rank}")
    return 0


SHRINK = Command(
    name="shrink",
    summary="cut a checkpoint's adapter to a lower rank",
    examples=("runs/rank/best --rank 4 --out pe-rank-small",),
    run=_run,
    add_arguments=_add_arguments,
)
