"""`rerankbench merge`: merges the result folders of several machines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.command import Command

if TYPE_CHECKING:
    import argparse


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="result folders")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the folder to put them into")
    parser.add_argument(
        "--prefer", type=Path, metavar="DIR", help="of a cell measured twice, keep the copy of this folder"
    )


def _run(options: argparse.Namespace) -> int:
    """Merge the folders, print the number of cells and return exit status 0."""
    from benchmarks.results.merge import merge

    cells = merge(options.folders, options.out, options.prefer)
    print(f"{len(cells)} cells in {options.out}; next: rerankbench report {options.out}")
    return 0


MERGE = Command(
    name="merge",
    summary="put result folders of several machines into one",
    examples=(
        "runs/machine-a runs/machine-b --out runs/all",
        "runs/machine-a runs/machine-b --prefer runs/machine-a --out runs/all",
    ),
    run=_run,
    add_arguments=_add_arguments,
)
