"""`rerankbench distill`: generates training data for ranking with a teacher reranker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.command import Command
from benchmarks.cli.commands.training.arguments import KEPT, add_set

if TYPE_CHECKING:
    import argparse


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("config", metavar="CONFIG", help="a settings file, or the name of a ready one")
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FILE.jsonl",
        help="ranking data; an unfinished one goes on",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="stop at N lists")
    add_set(parser)


def _run(options: argparse.Namespace) -> int:
    """Generate ranked lists, print their number and return exit status 0."""
    from benchmarks.training_data.distillation import distill
    from benchmarks.training_data.distillation_settings import load_distillation

    overrides = list(options.set)
    if options.limit is not None:
        overrides.append(f"limit={options.limit}")
    lists = distill(load_distillation(options.config, overrides), options.out)
    print(f"{lists} lists in {options.out}")
    return 0


DISTILL = Command(
    name="distill",
    summary="make ranking data with a teacher",
    examples=("distill-fusion --out fusion.jsonl", "distill-titles.yaml --limit 200 --out dev.jsonl"),
    run=_run,
    add_arguments=_add_arguments,
    kept=KEPT,
)
