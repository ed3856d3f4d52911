"""`rerankbench train export`: writes a checkpoint in the layout of the published code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.command import Command

if TYPE_CHECKING:
    import argparse


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a checkpoint with an adapter")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")


def _run(options: argparse.Namespace) -> int:
    """Export the checkpoint, print the output folder and return exit status 0."""
    from rerankers.training.export import export_published

    export_published(options.checkpoint, options.out)
    print(options.out)
    return 0


EXPORT = Command(
    name="export",
    summary="write a checkpoint in the layout of the published code",
    examples=("runs/rank/best --out exported",),
    run=_run,
    add_arguments=_add_arguments,
)
