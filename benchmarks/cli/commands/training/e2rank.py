"""`rerankbench train e2rank`: trains an E2Rank model on ranked lists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.command import Command
from benchmarks.cli.commands.training.arguments import KEPT, add_run_arguments, add_settings

if TYPE_CHECKING:
    import argparse


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    add_settings(parser)
    add_run_arguments(parser)


def _run(options: argparse.Namespace) -> int:
    """Train the model, print the options that use it and return exit status 0."""
    from accelerate import PartialState

    from benchmarks.measuring.progress import say
    from benchmarks.training_data.files import find_settings, read_settings
    from rerankers.training.e2rank.run import train
    from rerankers.training.e2rank.settings import E2RankSettings

    path = find_settings(options.config)
    settings = read_settings(path, E2RankSettings, options.set)
    folder = options.out or Path(settings.out or f"runs/train-{path.stem}")
    model = train(settings, folder, say)
    if PartialState().is_main_process:
        print(f"next: --reranker e2rank --option model={model}")
    return 0


E2RANK = Command(
    name="e2rank",
    summary="teach an embedding model to rank by a listwise prompt (E2Rank's stage 2)",
    examples=("e2rank.yaml --out runs/e2rank",),
    run=_run,
    add_arguments=_add_arguments,
    kept=KEPT,
)
