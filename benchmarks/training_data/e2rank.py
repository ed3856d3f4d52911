"""`rerankbench train e2rank`: trains an E2Rank model on ranked lists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring.progress import say
from benchmarks.training_data.files import find_settings, read_settings
from rerankers.training.e2rank.settings import E2RankSettings

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("config", metavar="CONFIG", help="a settings file, or the name of a ready one")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change a setting"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="result folder; the same command resumes")


def run(options: argparse.Namespace) -> int:
    """Train, and say where the model is."""
    from accelerate import PartialState

    from rerankers.training.e2rank.run import train

    path = find_settings(options.config)
    settings = read_settings(path, E2RankSettings, options.set)
    folder = options.out or Path(settings.out or f"runs/train-{path.stem}")
    model = train(settings, folder, say)
    if PartialState().is_main_process:
        print(f"next: --reranker e2rank --option model={model}")
    return 0
