"""`rerankbench export`: writes results in formats that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.command import Command

if TYPE_CHECKING:
    import argparse


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="a result folder")
    parser.add_argument(
        "--format",
        choices=("trec", "rank-llm", "rankgpt", "beir", "parquet"),
        required=True,
        help="TREC runs and judgements, others' JSONL or folders, or a row for each query and repeat",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where to write")


def _run(options: argparse.Namespace) -> int:
    """Export a result folder, print the paths written and return exit status 0."""
    from benchmarks.results.exchange.export import export
    from benchmarks.results.store import trusted

    with trusted([options.folder]):
        for path in export(options.folder, options.format, options.out):
            print(path)
    return 0


EXPORT = Command(
    name="export",
    summary="write results in formats that others read",
    examples=("runs/demo --format trec --out trec", "runs/demo --format parquet --out tables"),
    run=_run,
    add_arguments=_add_arguments,
)
