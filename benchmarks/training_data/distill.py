"""The command `rerankbench distill`; its work is done by `benchmarks.training_data.distillation`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("config", metavar="CONFIG", help="a settings file, or the name of a ready one")
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FILE.jsonl",
        help="ranking data; an unfinished one goes on",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="stop at N lists")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change the settings"
    )


def run(options: argparse.Namespace) -> int:
    """Write ranking data, or what an earlier call left to write."""
    from benchmarks.training_data.distillation import distill
    from benchmarks.training_data.distillation_settings import load_distillation

    overrides = list(options.set)
    if options.limit is not None:
        overrides.append(f"limit={options.limit}")
    lists = distill(load_distillation(options.config, overrides), options.out)
    print(f"{lists} lists in {options.out}")
    return 0
